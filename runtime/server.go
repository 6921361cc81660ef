package runtime

import (
	"context"

	"sst/cfn"
)

// Server is the dev server.
type Server struct{ opts Options }

// Open takes the project's folder for this process, starts the relay and the control port, and writes
// .sst/start.json. Functions are served after the first Update. Another running server in the folder is an error that
// names its process.
func Open(ctx context.Context, opts Options) (*Server, error) { return &Server{opts: opts}, nil }

// Update serves what the assembly describes from now on. Invocations under way finish as they began.
func (s *Server) Update(ctx context.Context, asm *cfn.Assembly) error { return nil }

// Watch reports changes of these files, and of what appears in these folders, as Changed. It replaces the list of an earlier call.
func (s *Server) Watch(files []string) {}

// Lambda is the base URL of the Invoke API, for --endpoint-url.
func (s *Server) Lambda() string { return "" }

// Close ends the server: requests under way are answered with an error, every worker process is gone when it returns.
func (s *Server) Close() error { return nil }
