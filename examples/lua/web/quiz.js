// The page of the quiz. The server pushes onQuiz with all that the page shows.
import { $, connect } from './common.js';

let quiz; // the last onQuiz
let at = 0; // when it came
let name = '';
let choice = 0; // of the present question
let asked = 0; // number of that question
let offered = ''; // what the buttons are for: the number of a question and its answers

const client = connect();

client.on('onQuiz', show);

// A new connection is a new player with no points: the script knows players by their sessions.
client.addEventListener('status', ({ state, resumed }) => {
  if (state === 'connected' && !resumed && name) join();
  if (state === 'connected' && quiz) paint();
});

$('welcome').addEventListener('submit', (event) => {
  event.preventDefault();
  name = $('name').value.trim();
  if (name) join();
});

async function join() {
  try {
    show(await client.request('quiz.join', { name }));
    $('welcome').hidden = true;
    $('quiz').hidden = false;
    $('problem').hidden = true;
  } catch (error) {
    $('problem').textContent = error.message;
    $('problem').hidden = false;
  }
}

async function choose(number) {
  if (choice || quiz.phase !== 'question') return;
  choice = number;
  paint();
  try {
    await client.request('quiz.choose', { question: quiz.number, choice: number });
  } catch (error) {
    $('outcome').textContent = error.message;
  }
}

function show(view) {
  if (quiz && view.version !== quiz.version) {
    $('version').classList.remove('new');
    void $('version').offsetWidth; // starts the animation again
    $('version').classList.add('new');
  }
  if (view.phase === 'question' && (view.number !== asked || quiz?.phase !== 'question')) {
    choice = 0;
    asked = view.number;
  }
  quiz = view;
  at = performance.now();
  paint();
}

/** Makes the buttons of a question. They stay while others answer, so that a click that has begun is not lost. */
function offer(answers) {
  const wanted = JSON.stringify([quiz.number, answers]);
  if (wanted === offered) return;
  offered = wanted;
  $('answers').replaceChildren(
    ...answers.map((text, i) => {
      const button = document.createElement('button');
      button.textContent = text;
      button.addEventListener('click', () => choose(i + 1));
      return button;
    }),
  );
}

function paint() {
  $('version').textContent = `script ${quiz.version}`;
  $('number').textContent = quiz.phase === 'idle' ? '' : `Question ${quiz.number} of ${quiz.of}`;
  $('question').textContent = quiz.question ?? 'Waiting for players';
  offer(quiz.answers ?? []);
  [...$('answers').children].forEach((button, i) => {
    const chosen = choice === i + 1;
    button.disabled = quiz.phase !== 'question' || choice > 0;
    if (quiz.correct) button.className = quiz.correct === i + 1 ? 'correct' : chosen ? 'wrong' : '';
    else button.className = chosen ? 'chosen' : '';
  });
  $('outcome').textContent = !quiz.correct ? (choice ? 'Waiting for the others' : '') : choice === quiz.correct ? 'Correct' : choice ? 'Wrong' : 'No answer';
  const players = [...quiz.players].sort((a, b) => b.score - a.score);
  $('players').replaceChildren(
    ...players.map((player) => {
      const item = document.createElement('li');
      const cell = (type, text) => {
        const made = document.createElement('span');
        made.className = type;
        made.textContent = text;
        item.append(made);
      };
      cell(player.name === name ? 'name you' : 'name', player.name);
      if (quiz.phase === 'question' && player.answered) cell('mark', '✓');
      if (player.gained) cell('gained', `+${player.gained}`);
      cell('score', player.score.toLocaleString());
      return item;
    }),
  );
}

requestAnimationFrame(function frame(now) {
  requestAnimationFrame(frame);
  if (!quiz?.left) return;
  const left = Math.max(0, quiz.left - (now - at) / 1000);
  $('left').textContent = quiz.phase === 'question' ? `${Math.ceil(left)} s` : `next in ${Math.ceil(left)} s`;
  $('time').style.transform = `scaleX(${left / quiz.lasts})`;
});
