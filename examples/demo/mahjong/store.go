package main

import (
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	_ "modernc.org/sqlite" // registers the driver

	"github.com/lonng/nano/examples/demo/mahjong/rules"
)

const schema = `
CREATE TABLE IF NOT EXISTS players (
	id INTEGER PRIMARY KEY, name TEXT NOT NULL, token BLOB NOT NULL UNIQUE, balance INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS hands (id INTEGER PRIMARY KEY, ended INTEGER NOT NULL, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS results (
	player INTEGER NOT NULL, hand INTEGER NOT NULL, seat INTEGER NOT NULL, amount INTEGER NOT NULL,
	PRIMARY KEY (player, hand)
) WITHOUT ROWID;`

// Record is a played hand. The seed and the actions reproduce every state of it.
type Record struct {
	Code    string         `json:"code"`
	Number  int            `json:"number"`
	Started int64          `json:"started"` // Unix milliseconds
	Ended   int64          `json:"ended"`
	Config  rules.Config   `json:"config"`
	Dealer  int            `json:"dealer"`
	Seed    string         `json:"seed"` // 32 bytes in hex
	Names   []string       `json:"names"`
	Players []int64        `json:"players"` // 0 for a bot
	Actions []rules.Action `json:"actions"`
	Totals  []int          `json:"totals"`
}

// Account is the record of a player in the store.
type Account struct {
	ID      int64  `json:"uid"`
	Name    string `json:"name"`
	Token   string `json:"token"`
	Balance int64  `json:"balance"`
}

// Store keeps players, balances and hands in SQLite. One goroutine runs all jobs. Waiting
// jobs share one transaction, which reduces the number of writes to the disk.
type Store struct {
	db   *sql.DB
	done chan struct{} // closed when the goroutine has ended

	mu     sync.Mutex
	wake   *sync.Cond // of mu
	jobs   []job      // mu guards it and the fields below
	closed bool
}

type job struct {
	run  func(*sql.Tx) error
	done func(error)
}

var errStoreClosed = errors.New("mahjong: the store is closed")

// OpenStore opens or creates the file. With an empty name, the store is in memory.
func OpenStore(file string) (*Store, error) {
	if file == "" {
		file = ":memory:"
	}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // a store in memory exists only as long as its connection
	for _, statement := range []string{"PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA busy_timeout = 5000", schema} {
		if _, err := db.Exec(statement); err != nil {
			_ = db.Close()
			return nil, fmt.Errorf("mahjong: open %s: %w", file, err)
		}
	}
	s := &Store{db: db, done: make(chan struct{})}
	s.wake = sync.NewCond(&s.mu)
	go s.serve()
	return s, nil
}

// Do runs a job in a transaction, and then done on the goroutine of the store. When done
// is called without an error, the job's changes are on the disk. Do does not wait. Each
// table and each request has one job at a time, which bounds the queue.
func (s *Store) Do(run func(*sql.Tx) error, done func(error)) {
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.jobs = append(s.jobs, job{run, done})
		s.wake.Signal()
	}
	s.mu.Unlock()
	if closed {
		done(errStoreClosed)
	}
}

// Close runs the queued jobs and closes the file.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.wake.Signal()
	s.mu.Unlock()
	<-s.done
	return s.db.Close()
}

func (s *Store) serve() {
	defer close(s.done)
	for {
		s.mu.Lock()
		for len(s.jobs) == 0 && !s.closed {
			s.wake.Wait()
		}
		jobs := s.jobs
		s.jobs = nil
		s.mu.Unlock()
		if len(jobs) == 0 {
			return
		}
		s.batch(jobs)
	}
}

// batch runs jobs in one transaction. A failed job is rolled back and does not affect the
// others.
func (s *Store) batch(jobs []job) {
	results := make([]error, len(jobs))
	tx, err := s.db.Begin()
	if err == nil {
		for i, j := range jobs {
			results[i] = savepoint(tx, j.run)
		}
		err = tx.Commit()
	}
	for i, j := range jobs {
		if err != nil {
			results[i] = err
		}
		j.done(results[i])
	}
}

func savepoint(tx *sql.Tx, run func(*sql.Tx) error) error {
	if _, err := tx.Exec("SAVEPOINT job"); err != nil {
		return err
	}
	failed := run(tx)
	if failed != nil {
		if _, err := tx.Exec("ROLLBACK TO job"); err != nil {
			return errors.Join(failed, err)
		}
	}
	if _, err := tx.Exec("RELEASE job"); err != nil {
		return errors.Join(failed, err)
	}
	return failed
}

// login finds the account of a token, or creates one with a new token. A name that is not
// empty replaces the old name.
func login(tx *sql.Tx, token, name string) (Account, error) {
	a := Account{Token: token, Name: name}
	var old string
	hash := sha256.Sum256([]byte(token)) // a copy of the file does not reveal the tokens
	err := tx.QueryRow("SELECT id, name, balance FROM players WHERE token = ?", hash[:]).Scan(&a.ID, &old, &a.Balance)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		a.Token = rand.Text()
		hash = sha256.Sum256([]byte(a.Token))
		if a.Name == "" {
			a.Name = "Guest"
		}
		r, err := tx.Exec("INSERT INTO players (name, token) VALUES (?, ?)", a.Name, hash[:])
		if err != nil {
			return a, err
		}
		a.ID, err = r.LastInsertId()
		return a, err
	case err != nil:
		return a, err
	case name == "":
		a.Name = old
	case name != old:
		_, err = tx.Exec("UPDATE players SET name = ? WHERE id = ?", name, a.ID)
	}
	return a, err
}

// save stores a finished hand, and adds its result to the balances.
func save(tx *sql.Tx, r *Record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	res, err := tx.Exec("INSERT INTO hands (ended, record) VALUES (?, ?)", r.Ended, string(text))
	if err != nil {
		return err
	}
	hand, err := res.LastInsertId()
	if err != nil {
		return err
	}
	for seat, player := range r.Players {
		if player == 0 {
			continue
		}
		if _, err := tx.Exec("INSERT INTO results VALUES (?, ?, ?, ?)", player, hand, seat, r.Totals[seat]); err != nil {
			return err
		}
		if _, err := tx.Exec("UPDATE players SET balance = balance + ? WHERE id = ?", r.Totals[seat], player); err != nil {
			return err
		}
	}
	return nil
}

// Past is an entry of a player's history.
type Past struct {
	ID     int64    `json:"id"`
	Ended  int64    `json:"ended"`
	Code   string   `json:"code"`
	Number int      `json:"number"`
	Seat   int      `json:"seat"`
	Names  []string `json:"names"`
	Totals []int    `json:"totals"`
}

// maxPast is the number of hands in a history.
const maxPast = 50

// past returns the last hands of a player, the newest first.
func past(tx *sql.Tx, player int64) ([]Past, error) {
	rows, err := tx.Query("SELECT h.id, r.seat, h.record FROM results r JOIN hands h ON h.id = r.hand WHERE r.player = ? ORDER BY r.hand DESC LIMIT ?", player, maxPast)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []Past{}
	for rows.Next() {
		var p Past
		var text string
		var r Record
		if err := rows.Scan(&p.ID, &p.Seat, &text); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return nil, err
		}
		p.Ended, p.Code, p.Number, p.Names, p.Totals = r.Ended, r.Code, r.Number, r.Names, r.Totals
		list = append(list, p)
	}
	return list, rows.Err()
}

// played returns a hand in which the player had a seat; the error is sql.ErrNoRows if there is none.
func played(tx *sql.Tx, player, hand int64) (r Record, seat int, err error) {
	var text string
	err = tx.QueryRow("SELECT r.seat, h.record FROM results r JOIN hands h ON h.id = r.hand WHERE r.player = ? AND r.hand = ?", player, hand).Scan(&seat, &text)
	if err == nil {
		err = json.Unmarshal([]byte(text), &r)
	}
	return r, seat, err
}

// seedText returns a seed in the format of a record.
func seedText(seed [32]byte) string { return hex.EncodeToString(seed[:]) }

func now() int64 { return time.Now().UnixMilli() }
