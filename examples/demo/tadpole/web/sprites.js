// Shapes that are drawn once and then used many times.

const made = new Map();

/** Returns the sprite with a key. `draw` draws it on a canvas of size pixels, once. */
function sprite(key, size, draw) {
  let canvas = made.get(key);
  if (!canvas) {
    canvas = document.createElement('canvas');
    canvas.width = canvas.height = size;
    draw(canvas.getContext('2d'), size);
    made.set(key, canvas);
  }
  return canvas;
}

/** A spot of light with a color such as #3fd6c4. */
export function light(color) {
  return sprite(`light ${color}`, 128, (c, size) => {
    const shine = c.createRadialGradient(size / 2, size / 2, 0, size / 2, size / 2, size / 2);
    shine.addColorStop(0, color);
    shine.addColorStop(0.35, `${color}66`);
    shine.addColorStop(1, `${color}00`);
    c.fillStyle = shine;
    c.fillRect(0, 0, size, size);
  });
}

/** The head of a tadpole, which looks to the right. */
export function head({ bright, color, dark }) {
  return sprite(`head ${color}`, 160, (c) => {
    const skin = c.createRadialGradient(92, 66, 6, 80, 80, 74);
    skin.addColorStop(0, bright);
    skin.addColorStop(0.5, color);
    skin.addColorStop(1, dark);
    c.fillStyle = skin;
    c.beginPath();
    c.ellipse(78, 80, 66, 54, 0, 0, 2 * Math.PI);
    c.fill();
    c.fillStyle = 'rgb(255 255 255 / 16%)';
    c.beginPath();
    c.ellipse(62, 60, 30, 15, -0.3, 0, 2 * Math.PI);
    c.fill();
    for (const y of [46, 114]) {
      c.fillStyle = '#f4fffb';
      c.beginPath();
      c.arc(114, y, 14, 0, 2 * Math.PI);
      c.fill();
      c.fillStyle = '#04181c';
      c.beginPath();
      c.arc(118, y, 9.5, 0, 2 * Math.PI);
      c.fill();
      c.fillStyle = '#fff';
      c.beginPath();
      c.arc(121, y - 4, 3, 0, 2 * Math.PI);
      c.fill();
    }
  });
}

/** A lily pad. */
export function pad() {
  return sprite('pad', 256, (c, size) => {
    const r = size / 2;
    c.translate(r, r);
    const leaf = c.createRadialGradient(-r * 0.2, -r * 0.25, r * 0.1, 0, 0, r);
    leaf.addColorStop(0, '#2e7f5b');
    leaf.addColorStop(0.7, '#17583f');
    leaf.addColorStop(1, '#0c3a2c');
    c.fillStyle = leaf;
    c.beginPath();
    c.moveTo(r * 0.08, 0);
    for (let i = 0; i <= 60; i++) {
      const a = 0.2 + (i / 60) * (2 * Math.PI - 0.4);
      const edge = r * (0.94 + 0.025 * Math.sin(a * 11));
      c.lineTo(edge * Math.cos(a), edge * Math.sin(a));
    }
    c.closePath();
    c.fill();
    c.strokeStyle = 'rgb(160 235 190 / 20%)';
    c.lineWidth = 2;
    for (let i = 1; i < 12; i++) {
      const a = 0.2 + (i / 12) * (2 * Math.PI - 0.4);
      c.beginPath();
      c.moveTo(r * 0.08, 0);
      c.quadraticCurveTo(
        r * 0.5 * Math.cos(a + 0.06),
        r * 0.5 * Math.sin(a + 0.06),
        r * 0.86 * Math.cos(a),
        r * 0.86 * Math.sin(a),
      );
      c.stroke();
    }
  });
}

/** A water lily. */
export function flower() {
  return sprite('flower', 128, (c, size) => {
    c.translate(size / 2, size / 2);
    for (const [petals, long, color] of [
      [9, 58, '#e9a9c6'],
      [8, 46, '#f6c9dc'],
      [6, 32, '#fdeaf2'],
    ]) {
      for (let i = 0; i < petals; i++) {
        c.save();
        c.rotate((i / petals) * 2 * Math.PI + long);
        c.fillStyle = color;
        c.beginPath();
        c.moveTo(4, 0);
        c.quadraticCurveTo(long * 0.55, -long * 0.3, long, 0);
        c.quadraticCurveTo(long * 0.55, long * 0.3, 4, 0);
        c.fill();
        c.restore();
      }
    }
    c.fillStyle = '#f7d774';
    c.beginPath();
    c.arc(0, 0, 11, 0, 2 * Math.PI);
    c.fill();
  });
}
