// When to look again: at once when the server says that something of this project changed, and now and then anyway, for
// what is shared by others and for the time between two connections.
//
// The server says over a WebSocket which kinds of objects changed, never more. The token goes in its first message.

const SOON_MS = 250;
const ANYWAY_MS = 30000;
const WITHOUT_MS = 4000;
const AGAIN_MS = 3000;
const ENDED = 4401;

export class Feed {
  constructor(session) {
    this.session = session;
    this.looks = new Set();
    this.socket = null;
    this.isPushed = false;
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.wake();
    });
  }

  start() {
    this.stop();
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/dashboard/changes`);
    this.socket = socket;
    socket.onopen = () => socket.send(JSON.stringify({ token: this.session.token }));
    socket.onmessage = () => {
      this.isPushed = true;
      this.wake();
    };
    socket.onclose = (event) => {
      this.isPushed = false;
      if (this.socket !== socket) return;
      if (event.code === ENDED) this.wake(); // the next answer is a 401, which ends the session
      this.timer = setTimeout(() => this.session.isOpen && this.start(), AGAIN_MS);
    };
  }

  stop() {
    clearTimeout(this.timer);
    const { socket } = this;
    this.socket = null;
    this.isPushed = false;
    socket?.close();
  }

  wake() {
    for (const look of this.looks) look();
  }

  // Run `look` now and whenever there may be something new, one at a time, until `signal`; `say` hears of what it throws.
  async every(look, signal, say) {
    let [isRunning, isDue, timer] = [false, false, null];
    const run = async () => {
      if (signal.aborted) return;
      clearTimeout(timer);
      if (isRunning) {
        isDue = true;
        return;
      }
      isRunning = true;
      isDue = false;
      try {
        await look();
        say(null);
      } catch (error) {
        say(error);
      }
      isRunning = false;
      if (!signal.aborted) timer = setTimeout(later, isDue ? SOON_MS : this.isPushed ? ANYWAY_MS : WITHOUT_MS);
    };
    const later = () => (document.hidden ? (timer = setTimeout(later, WITHOUT_MS)) : run());
    const soon = () => {
      if (document.hidden) return;
      if (isRunning) isDue = true;
      else {
        clearTimeout(timer);
        timer = setTimeout(run, SOON_MS);
      }
    };
    this.looks.add(soon);
    signal.addEventListener("abort", () => {
      this.looks.delete(soon);
      clearTimeout(timer);
    });
    await run();
    return run;
  }
}
