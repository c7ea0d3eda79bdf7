// Package js holds the JavaScript client, which a Go program can serve with its pages.
package js
