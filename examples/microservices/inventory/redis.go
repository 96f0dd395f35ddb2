package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// redis is one connection, which speaks as much of the protocol as this service needs.
type redis struct {
	net.Conn
	lines *bufio.Reader
}

// dial connects to what a URL such as redis://host:6379/0 names.
func dial(address string) (*redis, error) {
	place, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	connection, err := net.DialTimeout("tcp", place.Host, 5*time.Second)
	if err != nil {
		return nil, err
	}
	client := &redis{connection, bufio.NewReader(connection)}
	if database := strings.Trim(place.Path, "/"); database != "" {
		if _, err := client.call("SELECT", database); err != nil {
			connection.Close()
			return nil, err
		}
	}
	return client, nil
}

// call sends a command and returns its answer as text; an answer of nothing is io.EOF.
func (r *redis) call(words ...string) (string, error) {
	if err := r.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	var command strings.Builder
	fmt.Fprintf(&command, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&command, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(r, command.String()); err != nil {
		return "", err
	}
	line, err := r.lines.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	switch line[0] {
	case '-':
		return "", errors.New(line[1:])
	case '$':
		size, err := strconv.Atoi(line[1:])
		if err != nil {
			return "", err
		}
		if size < 0 {
			return "", io.EOF
		}
		data := make([]byte, size+2)
		_, err = io.ReadFull(r.lines, data)
		return string(data[:size]), err
	}
	return line[1:], nil
}
