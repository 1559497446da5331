// Package redistest starts a redis-server for tests, and speaks to it.
package redistest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Server is a redis-server that a test started.
type Server struct {
	// Socket is the path of the socket that it listens at.
	Socket string

	command   *exec.Cmd
	directory string
}

// patience is how long a server may take to come up.
const patience = 20 * time.Second

// Start starts a server, of which nothing is left after Stop.
func Start(arguments ...string) (*Server, error) {
	directory, err := os.MkdirTemp("", "cloakroom-go")
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(directory, "redis.sock")
	all := append([]string{"--port", "0", "--unixsocket", socket, "--save", "", "--dir", directory}, arguments...)
	server := &Server{Socket: socket, command: exec.Command("redis-server", all...), directory: directory}
	if err := server.command.Start(); err != nil {
		return nil, fmt.Errorf("a test needs redis-server: %w", err)
	}
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(time.Millisecond) {
		if client, err := server.Dial(); err == nil {
			client.Close()
			return server, nil
		}
	}
	server.Stop()
	return nil, fmt.Errorf("redis-server did not come up")
}

// Stop ends the server.
func (server *Server) Stop() {
	_ = server.command.Process.Kill()
	_ = server.command.Wait()
	_ = os.RemoveAll(server.directory)
}

// Dial makes a connection to the server.
func (server *Server) Dial() (*Client, error) { return Dial("unix", server.Socket) }
