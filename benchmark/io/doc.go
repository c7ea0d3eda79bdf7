// Package io holds Connector, the small client that programs written for nano use in their load tests and robots. It
// speaks protobuf over TCP. New programs are better served by package client, on which it is built.
package io
