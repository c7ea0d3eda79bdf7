-- The quiz. Save a change of this file or of questions.lua while people play: it counts at once.
local questions = require("questions")

local POINTS = 100 -- for a correct answer, and as many again for the fastest possible one
local ANSWER_TIME = 15 -- seconds
local PAUSE = 6 -- seconds between two questions
local MAX_PLAYERS = 100

local M = {}

-- The state is carried over to the next version by on_reload.
M.state = {
  group = nano.group("quiz"),
  players = {}, -- a list of {session, name, score, choice, gained}
  phase = "idle", -- "idle", "question" or "answer"
  index = 0, -- of the question
  ends = 0, -- when the phase ends
  lasts = 1, -- how long the phase lasts, in seconds
}

local function find(session)
  for i, player in ipairs(M.state.players) do
    if player.session == session then return player, i end
  end
end

-- view is what all players see. The correct answer is in it only when nobody can choose any more.
local function view()
  local s = M.state
  local players = nano.array()
  for _, p in ipairs(s.players) do
    table.insert(players, {
      name = p.name,
      score = p.score,
      answered = p.choice ~= nil,
      gained = s.phase == "answer" and p.gained or nil,
    })
  end
  local v = {version = nano.version(), phase = s.phase, players = players, number = s.index, of = #questions}
  local q = questions[s.index]
  if s.phase ~= "idle" and q then
    v.question, v.answers = q.text, q.answers
    v.left, v.lasts = math.max(0, s.ends - nano.now()), s.lasts
    if s.phase == "answer" then v.correct = q.correct end
  end
  return v
end

local function show() M.state.group:broadcast("onQuiz", view()) end

-- begin starts a phase, and ends it by a timer. The timer has the name of a function, so the
-- function of the newest version is called.
local function begin(phase, seconds, next)
  local s = M.state
  if s.timer then s.timer:stop() end
  s.phase, s.ends, s.lasts = phase, nano.now() + seconds, seconds
  s.timer = nano.after(seconds, next)
  show()
end

-- Functions whose names begin with _ are no routes.
function M._ask()
  local s = M.state
  s.index = s.index % #questions + 1
  for _, p in ipairs(s.players) do p.choice, p.gained = nil, nil end
  begin("question", ANSWER_TIME, "_reveal")
end

function M._reveal()
  local q = questions[M.state.index] or {}
  for _, p in ipairs(M.state.players) do
    if p.choice == q.correct then
      p.gained = POINTS + math.floor(POINTS * p.speed + 0.5)
      p.score = p.score + p.gained
    else
      p.gained = 0
    end
  end
  begin("answer", PAUSE, "_ask")
end

local function leave(session)
  local s = M.state
  local _, i = find(session)
  if not i then return end
  table.remove(s.players, i)
  if #s.players == 0 then -- nobody is left to ask
    if s.timer then s.timer:stop() end
    s.phase, s.index = "idle", 0
  end
  show()
end
function M._left(session) leave(session) end

-- quiz.join {name}
function M.join(session, request)
  local name = type(request) == "table" and type(request.name) == "string" and request.name:match("^%s*(.-)%s*$") or ""
  if name == "" or #name > 40 then return nil, nano.error("QUIZ-NAME", "The name needs 1 to 40 bytes.") end
  if find(session) then return nil, nano.error("QUIZ-JOINED", "You play already.") end
  local s = M.state
  if #s.players >= MAX_PLAYERS then return nil, nano.error("QUIZ-FULL", "The quiz is full.") end
  table.insert(s.players, {session = session, name = name, score = 0})
  s.group:add(session)
  session:on_close("_left")
  if s.phase == "idle" then M._ask() else show() end
  nano.log.info("a player joined", {name = name, players = #s.players})
  return view()
end

-- quiz.choose {question, choice}
function M.choose(session, request)
  local s, player = M.state, find(session)
  if not player then return nil, nano.error("QUIZ-JOIN", "Join first.") end
  local choice = type(request) == "table" and request.choice
  if s.phase ~= "question" or request.question ~= s.index then
    return nil, nano.error("QUIZ-LATE", "The time is over.")
  end
  if not questions[s.index].answers[choice] then return nil, nano.error("QUIZ-CHOICE", "There is no such answer.") end
  if player.choice then return nil, nano.error("QUIZ-CHOSEN", "You have chosen already.") end
  player.choice = choice
  player.speed = math.max(0, s.ends - nano.now()) / ANSWER_TIME
  for _, p in ipairs(s.players) do
    if not p.choice then
      show()
      return {choice = choice}
    end
  end
  M._reveal() -- all have chosen
  return {choice = choice}
end

-- A new version takes over the players and their scores. The timer goes on.
function M.on_reload(old)
  M.state = old
  if old.index > #questions then old.index = 0 end
  show()
end

return M
