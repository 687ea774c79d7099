/** A sheet of paper: strokes by finger, pen, mouse or keyboard. It draws each movement at once and keeps few points. */

/** Units that a point has to be away from the one before to be kept. */
const APART = 5;
/** Units that the pen goes with one press of an arrow key. */
const STEP = 25;
const PEN = 8;
/** What the server takes at most, and a few less. */
const MOST_STROKES = 195;
const MOST_NUMBERS = 19_000;
/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Sheet {
  #canvas;
  #strokes;
  #side;
  #changed;
  #ended = new AbortController();
  #resized;
  /** The stroke that is being drawn. @type {number[] | null} */
  #stroke = null;
  /** The keyboard's pen; not there until an arrow is pressed. @type {{x: number, y: number, down: boolean} | null} */
  #pen = null;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {number[][]} strokes are added to and taken from
   * @param {number} side units on each side of the sheet
   * @param {() => void} changed
   */
  constructor(canvas, strokes, side, changed) {
    this.#canvas = canvas;
    this.#strokes = strokes;
    this.#side = side;
    this.#changed = changed;
    const { signal } = this.#ended;
    canvas.addEventListener("pointerdown", (event) => this.#down(event), { signal });
    canvas.addEventListener("pointermove", (event) => this.#move(event), { signal });
    canvas.addEventListener("pointerup", () => this.#up(), { signal });
    canvas.addEventListener("pointercancel", () => this.#up(), { signal });
    canvas.addEventListener("keydown", (event) => this.#press(event), { signal });
    this.#resized = new ResizeObserver(() => this.#redraw());
    this.#resized.observe(canvas);
    changed();
  }

  undo() {
    this.#strokes.pop();
    this.#after();
  }

  clear() {
    this.#strokes.length = 0;
    this.#after();
  }

  stop() {
    this.#ended.abort();
    this.#resized.disconnect();
  }

  get #isFull() {
    const numbers = this.#strokes.reduce((sum, stroke) => sum + stroke.length, 0);
    return this.#strokes.length > MOST_STROKES || numbers > MOST_NUMBERS;
  }

  #after() {
    this.#pen = null;
    this.#stroke = null;
    this.#redraw();
    this.#changed();
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (event.button !== 0 || !event.isPrimary || this.#isFull) {
      return;
    }
    event.preventDefault();
    this.#canvas.focus({ preventScroll: true });
    this.#canvas.setPointerCapture(event.pointerId);
    this.#stroke = this.#pointAt(event);
    this.#strokes.push(this.#stroke);
    this.#line(this.#stroke, 0);
  }

  /** @param {PointerEvent} event */
  #move(event) {
    if (this.#stroke === null || !event.isPrimary || this.#isFull) {
      return;
    }
    // All that the device has seen since the last frame; some browsers have no list, or an empty one.
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length > 0 ? events : [event]) {
      const [x, y] = this.#pointAt(each);
      const [lastX, lastY] = this.#stroke.slice(-2);
      if (Math.hypot(Number(x) - Number(lastX), Number(y) - Number(lastY)) >= APART) {
        this.#stroke.push(Number(x), Number(y));
        this.#line(this.#stroke, this.#stroke.length - 4);
      }
    }
  }

  #up() {
    if (this.#stroke !== null) {
      this.#stroke = null;
      this.#changed();
    }
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    const arrow = ARROWS[event.key];
    if ((arrow === undefined && event.key !== " ") || this.#isFull) {
      return;
    }
    event.preventDefault();
    this.#pen ??= { x: this.#side / 2, y: this.#side / 2, down: false };
    const pen = this.#pen;
    if (arrow === undefined) {
      pen.down = !pen.down;
      if (pen.down) {
        this.#strokes.push([pen.x, pen.y]);
      }
      this.#changed();
    } else {
      pen.x = this.#within(pen.x + arrow[0] * STEP);
      pen.y = this.#within(pen.y + arrow[1] * STEP);
      if (pen.down) {
        this.#strokes.at(-1)?.push(pen.x, pen.y);
        this.#changed();
      }
    }
    this.#redraw();
  }

  /** @param {number} value */
  #within(value) {
    return Math.max(0, Math.min(this.#side, Math.round(value)));
  }

  /**
   * @param {PointerEvent} event
   * @returns {number[]}
   */
  #pointAt(event) {
    const box = this.#canvas.getBoundingClientRect();
    return [
      this.#within(((event.clientX - box.left) / box.width) * this.#side),
      this.#within(((event.clientY - box.top) / box.height) * this.#side),
    ];
  }

  #context() {
    const context = this.#canvas.getContext("2d");
    if (context === null) {
      throw new Error("This browser cannot draw.");
    }
    const scale = this.#canvas.width / this.#side;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.lineWidth = PEN;
    context.lineCap = "round";
    context.lineJoin = "round";
    context.strokeStyle = getComputedStyle(this.#canvas).color;
    return context;
  }

  /**
   * @param {number[]} stroke
   * @param {number} from where in it to begin
   */
  #line(stroke, from) {
    const context = this.#context();
    context.beginPath();
    context.moveTo(Number(stroke[from]), Number(stroke[from + 1]));
    context.lineTo(Number(stroke[from]), Number(stroke[from + 1]));
    for (let at = from + 2; at < stroke.length; at += 2) {
      context.lineTo(Number(stroke[at]), Number(stroke[at + 1]));
    }
    context.stroke();
  }

  #redraw() {
    const size = Math.round(this.#canvas.clientWidth * devicePixelRatio);
    if (size > 0 && this.#canvas.width !== size) {
      this.#canvas.width = size;
      this.#canvas.height = size;
    }
    const context = this.#context();
    context.clearRect(0, 0, this.#side, this.#side);
    for (const stroke of this.#strokes) {
      this.#line(stroke, 0);
    }
    if (this.#pen !== null) {
      context.beginPath();
      context.arc(this.#pen.x, this.#pen.y, this.#pen.down ? PEN : PEN * 2, 0, 2 * Math.PI);
      context.stroke();
    }
  }
}
