// A terminal of 80 columns and 24 lines, as far as shells, editors and pagers of a Linux guest use one (TERM=vt100, linux).
// Pure: `write` takes text, `lines` says what is there. Colours are left out.

export const COLUMNS = 80;
export const LINES = 24;

const blank = () => Array(COLUMNS).fill(" ");

export class Terminal {
  constructor(answer = () => {}) {
    this.answer = answer; // what the terminal itself says, asked where the cursor is
    this.reset();
  }

  reset() {
    this.rows = Array.from({ length: LINES }, blank);
    this.x = this.y = 0;
    this.top = 0;
    this.bottom = LINES - 1;
    this.saved = [0, 0];
    this.pending = "";
    this.keypad = false;
  }

  write(text) {
    let rest = this.pending + text;
    this.pending = "";
    while (rest) {
      if (rest[0] !== "\x1b") {
        this.put(rest[0]);
        rest = rest.slice(1);
        continue;
      }
      const found =
        /^\x1b(?:\[([?>=!]?)([0-9;]*)([ -/]*)([@-~])|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[()*+#%][^]|[^[\]()*+#%])/.exec(rest);
      if (!found) {
        if (rest.length < 4200) this.pending = rest; // more of it is to come
        return;
      }
      if (found[4]) this.control(found[1], found[2], found[4]);
      else if (found[0].length === 2) this.escape(found[0][1]);
      rest = rest.slice(found[0].length);
    }
  }

  put(letter) {
    const code = letter.charCodeAt(0);
    if (letter === "\r") this.x = 0;
    else if (letter === "\n" || code === 11 || code === 12) this.feed();
    else if (letter === "\b") this.x = Math.max(0, Math.min(this.x, COLUMNS - 1) - 1);
    else if (letter === "\t") this.x = Math.min(COLUMNS - 1, (Math.floor(this.x / 8) + 1) * 8);
    else if (code >= 32 && code !== 127) {
      if (this.x >= COLUMNS) {
        this.x = 0;
        this.feed();
      }
      this.rows[this.y][this.x] = letter;
      this.x += 1;
    }
  }

  feed() {
    if (this.y === this.bottom) this.scroll(1, this.top);
    else this.y = Math.min(LINES - 1, this.y + 1);
  }

  // Lines from `from` to the bottom of the region go up by `many`, or down.
  scroll(many, from) {
    for (let count = Math.min(Math.abs(many), LINES); count > 0; count -= 1) {
      if (many > 0) {
        this.rows.splice(from, 1);
        this.rows.splice(this.bottom, 0, blank());
      } else {
        this.rows.splice(this.bottom, 1);
        this.rows.splice(from, 0, blank());
      }
    }
  }

  escape(letter) {
    if (letter === "c") this.reset();
    else if (letter === "7") this.saved = [this.x, this.y];
    else if (letter === "8") [this.x, this.y] = this.saved;
    else if (letter === "D") this.feed();
    else if (letter === "E") {
      this.x = 0;
      this.feed();
    } else if (letter === "M") {
      if (this.y === this.top) this.scroll(-1, this.top);
      else this.y = Math.max(0, this.y - 1);
    }
  }

  control(mark, words, letter) {
    const numbers = words.split(";").map((word) => Math.min(Number(word) || 0, 9999));
    const many = Math.max(1, numbers[0]);
    const at = Math.min(this.x, COLUMNS - 1);
    if (mark === "?") {
      if (numbers[0] === 1) this.keypad = letter === "h";
      return;
    }
    const move = (x, y) => {
      this.x = Math.max(0, Math.min(COLUMNS - 1, x));
      this.y = Math.max(0, Math.min(LINES - 1, y));
    };
    const row = this.rows[this.y];
    if (letter === "A") move(at, this.y - many);
    else if (letter === "B" || letter === "e") move(at, this.y + many);
    else if (letter === "C" || letter === "a") move(at + many, this.y);
    else if (letter === "D") move(at - many, this.y);
    else if (letter === "E") move(0, this.y + many);
    else if (letter === "F") move(0, this.y - many);
    else if (letter === "G" || letter === "`") move(many - 1, this.y);
    else if (letter === "d") move(at, many - 1);
    else if (letter === "H" || letter === "f") move(Math.max(1, numbers[1] || 1) - 1, many - 1);
    else if (letter === "J") {
      const [from, to] = [[this.y + 1, LINES], [0, this.y], [0, LINES], [0, LINES]][numbers[0]] || [0, 0];
      for (let line = from; line < to; line += 1) this.rows[line] = blank();
      if (numbers[0] === 0) row.fill(" ", at);
      if (numbers[0] === 1) row.fill(" ", 0, at + 1);
    } else if (letter === "K") {
      if (numbers[0] === 0) row.fill(" ", at);
      else if (numbers[0] === 1) row.fill(" ", 0, at + 1);
      else row.fill(" ");
    } else if (letter === "L" || letter === "M") {
      if (this.y >= this.top && this.y <= this.bottom) this.scroll(letter === "M" ? many : -many, this.y);
    } else if (letter === "S") this.scroll(many, this.top);
    else if (letter === "T") this.scroll(-many, this.top);
    else if (letter === "P") {
      row.splice(at, Math.min(many, COLUMNS - at));
      while (row.length < COLUMNS) row.push(" ");
    } else if (letter === "@") {
      row.splice(at, 0, ...Array(Math.min(many, COLUMNS)).fill(" "));
      row.length = COLUMNS;
    } else if (letter === "X") row.fill(" ", at, at + many);
    else if (letter === "r") {
      const [top, bottom] = [many - 1, (numbers[1] || LINES) - 1];
      if (top < bottom && bottom < LINES) [this.top, this.bottom] = [top, bottom];
      move(0, 0);
    } else if (letter === "s") this.saved = [at, this.y];
    else if (letter === "u") [this.x, this.y] = this.saved;
    else if (letter === "n" && numbers[0] === 6) this.answer(`\x1b[${this.y + 1};${at + 1}R`);
    else if (letter === "n" && numbers[0] === 5) this.answer("\x1b[0n");
    else if (letter === "c") this.answer("\x1b[?6c");
  }

  lines() {
    return this.rows.map((row) => row.join(""));
  }
}

const NAMED = {
  Enter: "\r", Backspace: "\x7f", Tab: "\t", Escape: "\x1b", Insert: "\x1b[2~", Delete: "\x1b[3~",
  PageUp: "\x1b[5~", PageDown: "\x1b[6~", F1: "\x1bOP", F2: "\x1bOQ", F3: "\x1bOR", F4: "\x1bOS",
};
const ARROWS = { ArrowUp: "A", ArrowDown: "B", ArrowRight: "C", ArrowLeft: "D", Home: "H", End: "F" };

// What a key says; null for one that says nothing.
export function keyText(event, keypad = false) {
  if (event.metaKey) return null;
  if (event.key in ARROWS) return `\x1b${keypad ? "O" : "["}${ARROWS[event.key]}`;
  if (event.key in NAMED) return NAMED[event.key];
  if ([...event.key].length !== 1) return null;
  if (event.ctrlKey && !event.altKey) {
    const code = event.key.toUpperCase().charCodeAt(0);
    if (event.key === " ") return "\0";
    return code >= 64 && code < 96 ? String.fromCharCode(code - 64) : null;
  }
  return event.altKey && !event.ctrlKey ? `\x1b${event.key}` : event.key;
}
