// Plays a past hand step by step.

const STEP = 900; // milliseconds

const icon = (d) => `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${d}" fill="currentColor"/></svg>`;
const PLAY = icon('M7 4v16l13-8z');
const PAUSE = icon('M6 4h4v16H6zM14 4h4v16h-4z');
const PREVIOUS = icon('M18 5v14L8 12zM6 5h2v14H6z');
const NEXT = icon('M6 5v14l10-7zM16 5h2v14h-2z');

/** A past hand on the screen. changed is called when there is another board to show. */
export class Player {
  #timer;

  constructor({ seat, boards, hand }, changed) {
    Object.assign(this, { seat, boards, hand, changed, at: 0 });
  }

  get board() {
    return this.boards[this.at];
  }

  go(at) {
    this.at = Math.max(0, Math.min(this.boards.length - 1, at));
    this.changed();
  }

  #pause() {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Runs a button of the controls; reports whether it is one. */
  control(action) {
    switch (action) {
      case 'endReplay':
        this.#pause();
        return false;
      case 'previous':
      case 'next':
        this.#pause();
        this.at = Math.max(0, Math.min(this.boards.length - 1, this.at + (action === 'next' ? 1 : -1)));
        return true;
      case 'playing':
        if (this.#timer) this.#pause();
        else
          this.#timer = setInterval(() => {
            if (this.at === this.boards.length - 1) this.#pause();
            this.go(this.at + 1);
          }, STEP);
        return true;
    }
    return false;
  }

  controls() {
    const button = (action, drawing) => `<button type="button" class="icon" data-action="${action}" aria-label="${action}">${drawing}</button>`;
    return (
      `<span class="controls">${button('previous', PREVIOUS)}${button('playing', this.#timer ? PAUSE : PLAY)}${button('next', NEXT)}` +
      `<input id="at" type="range" min="0" max="${this.boards.length - 1}" value="${this.at}" aria-label="step" /><small>${this.at + 1} / ${this.boards.length}</small></span>`
    );
  }
}
