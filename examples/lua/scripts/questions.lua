-- The questions. correct is the number of the correct answer.
return {
  {text = "Which planet is the largest?", answers = {"Saturn", "Jupiter", "Neptune", "Earth"}, correct = 2},
  {text = "How many bits has a byte?", answers = {"4", "7", "8", "16"}, correct = 3},
  {text = "Which ocean is the deepest?", answers = {"Atlantic", "Indian", "Arctic", "Pacific"}, correct = 4},
  {text = "What is 12 x 12?", answers = {"144", "124", "132", "146"}, correct = 1},
  {text = "Which language does Lua's name come from?", answers = {"Spanish", "Portuguese", "Latin", "Italian"}, correct = 2},
  {text = "How many squares has a chessboard?", answers = {"64", "81", "32", "100"}, correct = 1},
  {text = "Which metal is liquid at room temperature?", answers = {"Tin", "Lead", "Mercury", "Zinc"}, correct = 3},
  {text = "In which year did people first walk on the Moon?", answers = {"1959", "1965", "1969", "1972"}, correct = 3},
}
