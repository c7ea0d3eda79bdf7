// The tiles, drawn as SVG symbols: characters 0 to 8, bamboos 9 to 17, dots 18 to 26. No font is needed for them.

const RED = '#b3261e';
const GREEN = '#1c7a4b';
const BLUE = '#1d4f91';
const INK = '#23303d';

// The strokes of the numbers one to nine, in the upper half of a tile of 60 by 80.
const NUMBERS = [
  'M13 23H47',
  'M19 15H41M13 32H47',
  'M18 11H42M21 21.5H39M13 32H47',
  'M15 12H45V33H15ZM25.5 12q0 9-6 13M34 12v8q0 4 4 4h7',
  'M16 10H44M29 10 24 33M18 20.5H40L38 33M12 33H48',
  'M30 6V11M13 16.5H47M25 22 17 34M35 22l8 12',
  'M13 20 46 15M28 7V28q0 5 5 5h9q4 0 4-5',
  'M25 11q-2 15-11 23M34 9q3 17 13 25',
  'M27 7q1 18-14 28M15 15H36V28q0 6 5 6t6-6',
];

// The sign for ten thousand.
const WAN =
  'M13 45H47M23.5 41V49M36.5 41V49M19 51.5H41V62H19ZM30 51.5V66M19 56.7H41M14 75V66H46v7q0 3-4 2M30 66l-5.5 6.5H35M33.5 69.5l3 4';

const strokes = (d, color, width) =>
  `<path d="${d}" fill="none" stroke="${color}" stroke-width="${width}" stroke-linecap="round" stroke-linejoin="round"/>`;

const character = (n) => strokes(NUMBERS[n - 1], INK, 3.6) + strokes(WAN, RED, 2.7);

// A stick of bamboo around a point, with its nodes.
function stick([x, y, color = GREEN, length = 24, angle = 0]) {
  const h = length / 2;
  const node = (at) => `<rect x="-4.6" y="${at - 1.6}" width="9.2" height="3.2" rx="1.6" fill="${color}"/>`;
  return (
    `<g transform="translate(${x} ${y}) rotate(${angle})"><rect x="-3.2" y="${-h}" width="6.4" height="${length}" rx="2.4" fill="${color}"/>` +
    `${node(-h + 1.6)}${node(0)}${node(h - 1.6)}` +
    `<path d="M-1 ${-h + 5}V-4M-1 4V${h - 5}" stroke="#fff" stroke-opacity=".55" stroke-width="1.3" stroke-linecap="round"/></g>`
  );
}

const BAMBOOS = [
  [],
  [[30, 24, GREEN, 27], [30, 57, GREEN, 27]],
  [[30, 23, BLUE, 27], [19, 57, GREEN, 27], [41, 57, GREEN, 27]],
  [[19, 23, BLUE, 27], [41, 23, GREEN, 27], [19, 57, GREEN, 27], [41, 57, BLUE, 27]],
  [[16, 23, GREEN, 27], [44, 23, BLUE, 27], [30, 40, RED, 27], [16, 57, BLUE, 27], [44, 57, GREEN, 27]],
  [[15, 23, GREEN, 27], [30, 23, GREEN, 27], [45, 23, GREEN, 27], [15, 57, BLUE, 27], [30, 57, BLUE, 27], [45, 57, BLUE, 27]],
  [[30, 16, RED, 20], [15, 40, GREEN, 20], [30, 40, BLUE, 20], [45, 40, GREEN, 20], [15, 64, GREEN, 20], [30, 64, BLUE, 20], [45, 64, GREEN, 20]],
  [
    [12, 24, GREEN, 27], [24.5, 25, GREEN, 25, 32], [35.5, 25, GREEN, 25, -32], [48, 24, GREEN, 27],
    [12, 56, BLUE, 27], [24.5, 55, BLUE, 25, -32], [35.5, 55, BLUE, 25, 32], [48, 56, BLUE, 27],
  ],
  [15, 30, 45].flatMap((x, i) => [16, 40, 64].map((y) => [x, y, [GREEN, RED, BLUE][i], 20])),
];

// One bamboo is a bird on a twig.
const BIRD =
  `<path d="M10 69q20-7 40-1" fill="none" stroke="${GREEN}" stroke-width="3" stroke-linecap="round"/>` +
  `<path d="M44 64q6-3 8-9-8 0-10 6z" fill="${GREEN}"/>` +
  `<path d="M24 44Q6 50 8 66q10-2 15-9l-3 9q8-4 11-13z" fill="${BLUE}"/>` +
  `<path d="M12 62q4-8 13-13M20 63q3-7 8-11" fill="none" stroke="#fff" stroke-opacity=".6" stroke-width="1.4" stroke-linecap="round"/>` +
  `<path d="M22 47C22 32 30 24 39 24c7 0 10 5 9 11C46 49 38 58 29 58c-5 0-7-5-7-11z" fill="${GREEN}"/>` +
  `<path d="M30 53c-3-7 2-15 11-17-1 9-4 15-11 17z" fill="${RED}"/>` +
  `<path d="M34 48q3-5 6-8" fill="none" stroke="#fff" stroke-opacity=".6" stroke-width="1.3" stroke-linecap="round"/>` +
  `<circle cx="40" cy="22" r="8.5" fill="${GREEN}"/><path d="M48 20l8 3-8 3z" fill="#d9962b"/>` +
  `<circle cx="42.5" cy="20" r="2.6" fill="#fff"/><circle cx="43" cy="20.2" r="1.3" fill="${INK}"/>` +
  `<path d="M36 14q-4-4-3-8M39 13q-1-5 1-8M43 14q2-4 5-6" fill="none" stroke="${RED}" stroke-width="2" stroke-linecap="round"/>` +
  `<path d="M31 58v8M36 57v9" stroke="#d9962b" stroke-width="2.4" stroke-linecap="round"/>`;

const bamboo = (n) => (n === 1 ? BIRD : BAMBOOS[n - 1].map(stick).join(''));

// A dot: a coin with a ring and a flower in it.
function dot([x, y, color, r = 9.2]) {
  const petals = [0, 60, 120]
    .map((a) => `<ellipse rx="${r * 0.52}" ry="${r * 0.17}" fill="#fff" fill-opacity=".9" transform="rotate(${a})"/>`)
    .join('');
  return (
    `<g transform="translate(${x} ${y})"><circle r="${r}" fill="${color}"/>` +
    `<circle r="${r * 0.74}" fill="none" stroke="#fff" stroke-opacity=".85" stroke-width="${r * 0.12}"/>${petals}` +
    `<circle r="${r * 0.17}" fill="${color}"/></g>`
  );
}

const ONE =
  `<g transform="translate(30 40)"><circle r="24" fill="${GREEN}"/><circle r="20.5" fill="none" stroke="#fff" stroke-width="1.8"/>` +
  Array.from({ length: 12 }, (_, i) => `<circle cx="0" cy="-16.6" r="2.5" fill="#fff" transform="rotate(${i * 30})"/>`).join('') +
  `<circle r="12.5" fill="${RED}"/>` +
  Array.from({ length: 4 }, (_, i) => `<ellipse rx="9.6" ry="2.5" fill="#fff" transform="rotate(${i * 45})"/>`).join('') +
  `<circle r="3.4" fill="${RED}"/></g>`;

const DOTS = [
  [],
  [[30, 22, GREEN, 13], [30, 58, BLUE, 13]],
  [[15, 17, BLUE, 10.5], [30, 40, RED, 10.5], [45, 63, GREEN, 10.5]],
  [[18, 22, BLUE, 11], [42, 22, GREEN, 11], [18, 58, GREEN, 11], [42, 58, BLUE, 11]],
  [[15, 18, BLUE, 10], [45, 18, GREEN, 10], [30, 40, RED, 10], [15, 62, GREEN, 10], [45, 62, BLUE, 10]],
  [[18, 16, GREEN, 10], [42, 16, GREEN, 10], [18, 43, RED, 10], [42, 43, RED, 10], [18, 66, RED, 10], [42, 66, RED, 10]],
  [[13, 12, GREEN, 8], [30, 20, GREEN, 8], [47, 28, GREEN, 8], [19, 48, RED, 9], [41, 48, RED, 9], [19, 68, RED, 9], [41, 68, RED, 9]],
  [12, 31, 50, 69].flatMap((y) => [[19, y, BLUE, 8.6], [41, y, BLUE, 8.6]]),
  [15, 40, 65].flatMap((y, i) => [13, 30, 47].map((x) => [x, y, [GREEN, RED, BLUE][i], 8.2])),
];

const dots = (n) => (n === 1 ? ONE : DOTS[n - 1].map(dot).join(''));

/** Returns the SVG sprite of all faces, with the ids t0 to t26. */
export function sprite() {
  let symbols = '';
  for (let tile = 0; tile < 27; tile++) {
    const face = [character, bamboo, dots][Math.floor(tile / 9)]((tile % 9) + 1);
    symbols += `<symbol id="t${tile}" viewBox="0 0 60 80">${face}</symbol>`;
  }
  return `<svg width="0" height="0" aria-hidden="true">${symbols}</svg>`;
}

const NONE = 255;

/** Returns the HTML of a tile. A tile that is hidden shows its back. */
export function tile(t, { classes = '', attributes = '', label = '', tag = 'span' } = {}) {
  const type = tag === 'button' ? ' type="button"' : '';
  if (t === NONE) return `<${tag}${type} class="tile back ${classes}" ${attributes}></${tag}>`;
  return (
    `<${tag}${type} class="tile ${classes}" data-tile="${t}" ${attributes} ${label && `aria-label="${label}"`}>` +
    `<svg viewBox="0 0 60 80" aria-hidden="true"><use href="#t${t}"/></svg></${tag}>`
  );
}
