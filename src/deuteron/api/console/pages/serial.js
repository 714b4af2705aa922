import { Terminal, keyText } from "./terminal.js";

const screen = document.getElementById("screen");
const status = document.getElementById("status");
const scheme = location.protocol === "https:" ? "wss:" : "ws:";
const socket = new WebSocket(`${scheme}//${location.host}/console/serial${location.search}`, "binary");
socket.binaryType = "arraybuffer";
const decoder = new TextDecoder();
const encoder = new TextEncoder();
const say = (text) => socket.readyState === WebSocket.OPEN && socket.send(encoder.encode(text));
const terminal = new Terminal(say);
let isDue = false;

function draw() {
  isDue = false;
  const lines = terminal.lines();
  const here = lines[terminal.y];
  const x = Math.min(terminal.x, here.length - 1);
  const cursor = document.createElement("b");
  cursor.textContent = here[x];
  const before = [...lines.slice(0, terminal.y), here.slice(0, x)].join("\n");
  const after = [here.slice(x + 1), ...lines.slice(terminal.y + 1)].join("\n");
  screen.replaceChildren(before, cursor, after);
}

function drawSoon() {
  if (!isDue) {
    isDue = true;
    requestAnimationFrame(draw);
  }
}

socket.onopen = () => {
  status.textContent = "connected";
  screen.focus();
};
socket.onmessage = (event) => {
  terminal.write(decoder.decode(event.data, { stream: true }));
  drawSoon();
};
socket.onclose = () => {
  status.textContent = "disconnected: the guest ended, or the address was used before; ask for a new one";
};
screen.onkeydown = (event) => {
  const text = keyText(event, terminal.keypad);
  if (text !== null && !(event.ctrlKey && event.shiftKey)) {
    event.preventDefault();
    say(text);
  }
};
screen.onpaste = (event) => {
  event.preventDefault();
  say(event.clipboardData.getData("text").replace(/\r?\n/g, "\r"));
};
draw();
