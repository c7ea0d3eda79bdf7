// Package bot plays Sichuan mahjong. A bot sees only the view of its own seat.
package bot
