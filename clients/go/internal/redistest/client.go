package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// Error is an error that a server answered.
type Error string

func (err Error) Error() string { return string(err) }

// RedisError marks it as one, as those of go-redis are.
func (err Error) RedisError() {}

// Client is one connection to a server, for one command or pipeline at a time. One that broke is made anew.
type Client struct {
	mutex            sync.Mutex
	network, address string
	connection       net.Conn
	reader           *bufio.Reader
}

// Dial makes a connection.
func Dial(network, address string) (*Client, error) {
	client := &Client{network: network, address: address}
	return client, client.connect()
}

func (client *Client) connect() error {
	connection, err := net.Dial(client.network, client.address)
	if err != nil {
		return err
	}
	client.connection, client.reader = connection, bufio.NewReader(connection)
	return nil
}

// Close ends the connection.
func (client *Client) Close() {
	client.mutex.Lock()
	defer client.mutex.Unlock()
	if client.connection != nil {
		_ = client.connection.Close()
		client.connection = nil
	}
}

// Do sends a command.
func (client *Client) Do(ctx context.Context, args ...any) (any, error) {
	replies, err := client.Pipeline(ctx, args)
	if err != nil {
		return nil, err
	}
	if failed, ok := replies[0].(error); ok {
		return nil, failed
	}
	return replies[0], nil
}

// Pipeline sends several commands.
func (client *Client) Pipeline(ctx context.Context, commands ...[]any) ([]any, error) {
	client.mutex.Lock()
	defer client.mutex.Unlock()
	if client.connection == nil {
		if err := client.connect(); err != nil {
			return nil, err
		}
	}
	replies, err := client.exchange(ctx, commands)
	if err != nil {
		_ = client.connection.Close()
		client.connection = nil
	}
	return replies, err
}

func (client *Client) exchange(ctx context.Context, commands [][]any) ([]any, error) {
	deadline, _ := ctx.Deadline()
	if err := client.connection.SetDeadline(deadline); err != nil {
		return nil, err
	}
	stop := closeWhenDone(ctx, client.connection)
	defer stop()
	var text []byte
	for _, command := range commands {
		text = appendCommand(text, command)
	}
	if _, err := client.connection.Write(text); err != nil {
		return nil, err
	}
	replies := make([]any, len(commands))
	for at := range replies {
		reply, err := client.read()
		if err != nil {
			return nil, err
		}
		replies[at] = reply
	}
	return replies, nil
}

// closeWhenDone lets a connection go whose context is cancelled, until the function that it returns is called.
//
// Ordering: that waits for the goroutine, which would otherwise end the deadline of whoever has the connection next.
func closeWhenDone(ctx context.Context, connection net.Conn) func() {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ctx.Done():
			_ = connection.SetDeadline(time.Unix(1, 0))
		case <-stop:
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

func appendCommand(text []byte, command []any) []byte {
	text = append(text, fmt.Sprintf("*%d\r\n", len(command))...)
	for _, argument := range command {
		part := fmt.Sprint(argument)
		text = append(text, fmt.Sprintf("$%d\r\n%s\r\n", len(part), part)...)
	}
	return text
}

var errProtocol = errors.New("the server speaks no RESP that this client knows")

// read reads a reply of RESP2, or of RESP3 as far as scripts use it.
func (client *Client) read() (any, error) {
	line, err := client.reader.ReadString('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 {
		return nil, errProtocol
	}
	kind, rest := line[0], line[1:len(line)-2]
	switch kind {
	case '+':
		return rest, nil
	case '-':
		return Error(rest), nil
	case ':':
		return strconv.ParseInt(rest, 10, 64)
	case '_':
		return nil, nil
	case ',':
		return strconv.ParseFloat(rest, 64)
	}
	size, err := strconv.Atoi(rest)
	if err != nil {
		return nil, errProtocol
	}
	switch {
	case size < 0:
		return nil, nil
	case kind == '$':
		text := make([]byte, size+2)
		_, err := io.ReadFull(client.reader, text)
		return text[:size], err
	case kind == '*' || kind == '~':
		return client.readArray(size)
	case kind == '%':
		return client.readArray(2 * size)
	default:
		return nil, errProtocol
	}
}

func (client *Client) readArray(size int) (any, error) {
	items := make([]any, size)
	for at := range items {
		item, err := client.read()
		if err != nil {
			return nil, err
		}
		items[at] = item
	}
	return items, nil
}
