// Package git serves bare repositories over smart HTTP through the real `git
// http-backend`, and lets a test make the remote slow, private, down or mute.
package git

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// largestPush bounds what one request may hold in memory. Test repositories
// are some megabytes; a push above this is a mistake in the test.
const largestPush = 256 << 20

// Settings are what a test changes while the server runs.
type Settings struct {
	// LatencyMillis is waited before each answer.
	LatencyMillis int `json:"latencyMillis"`
	// Down answers 503 on every repository path.
	Down bool `json:"down"`
	// User and Password are asked for by basic auth; both empty: nobody is asked.
	User     string `json:"user"`
	Password string `json:"password"`
	// Hang accepts a request and answers nothing until its client goes away.
	Hang bool `json:"hang"`
}

// Counts are the requests on repository paths since the start. A request counts
// when it arrives, before it is refused, delayed or left hanging.
type Counts struct {
	Total         int                         `json:"total"`
	PerRepository map[string]RepositoryCounts `json:"perRepository"`
}

// RepositoryCounts are the requests of one repository, by what they asked for.
type RepositoryCounts struct {
	InfoRefs    int `json:"infoRefs"`
	UploadPack  int `json:"uploadPack"`
	ReceivePack int `json:"receivePack"`
}

// Server is the HTTP handler.
type Server struct {
	root    string
	backend string

	mu       sync.Mutex
	settings Settings
	counts   Counts
}

// NewServer serves the repositories under root.
func NewServer(root string, settings Settings) (*Server, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("git --exec-path: %w (is git installed? apt-get install git)", err)
	}
	backend := filepath.Join(strings.TrimSpace(string(path)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		return nil, err
	}
	return &Server{
		root: root, backend: backend, settings: settings,
		counts: Counts{PerRepository: map[string]RepositoryCounts{}},
	}, nil
}

// Main is the verb `git`. The first line on standard output is the URL.
func Main(args []string) error {
	flags := flag.NewFlagSet("git", flag.ExitOnError)
	root := flags.String("root", "", "directory of the bare repositories")
	listen := flags.String("listen", "127.0.0.1:0", "address to listen on")
	user := flags.String("user", "", "ask for this user by basic auth")
	passwordEnv := flags.String("password-env", "", "environment variable that holds the user's password")
	latency := flags.Duration("latency", 0, "wait before each answer")
	flags.Parse(args)
	if *root == "" {
		return errors.New("--root is required")
	}
	settings := Settings{LatencyMillis: int(latency.Milliseconds()), User: *user}
	if *passwordEnv != "" {
		settings.Password = os.Getenv(*passwordEnv)
	}
	if (settings.User == "") != (settings.Password == "") {
		return errors.New("--user and a password in the variable named by --password-env go together")
	}

	server, err := NewServer(*root, settings)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", listener.Addr())
	return http.Serve(listener, server)
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/_control/counts" && r.Method == http.MethodGet:
		s.answerCounts(w)
	case r.URL.Path == "/_control/settings" && r.Method == http.MethodPost:
		s.changeSettings(w, r)
	case strings.HasPrefix(r.URL.Path, "/_control/"):
		http.Error(w, "GET /_control/counts or POST /_control/settings", http.StatusNotFound)
	default:
		s.serveRepository(w, r)
	}
}

func (s *Server) answerCounts(w http.ResponseWriter) {
	s.mu.Lock()
	counts := Counts{Total: s.counts.Total, PerRepository: maps.Clone(s.counts.PerRepository)}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(counts)
}

// changeSettings merges: a key that is left out keeps its value, so that a test
// which takes the remote down does not also make it public.
func (s *Server) changeSettings(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := s.settings
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	body.DisallowUnknownFields()
	if err := body.Decode(&changed); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.settings = changed
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) serveRepository(w http.ResponseWriter, r *http.Request) {
	settings := s.count(r.URL.Path)

	// net/http notices that a client went away only once the body was read; and
	// CGI has no chunked bodies, which git uses for pushes above http.postBuffer.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largestPush))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil

	if settings.Hang {
		<-r.Context().Done()
		return
	}
	select {
	case <-time.After(time.Duration(settings.LatencyMillis) * time.Millisecond):
	case <-r.Context().Done():
		return
	}
	if settings.Down {
		http.Error(w, "down by /_control/settings", http.StatusServiceUnavailable)
		return
	}
	env := []string{
		"GIT_PROJECT_ROOT=" + s.root,
		"GIT_HTTP_EXPORT_ALL=1",
		// The machine's own configuration must not decide how a test ends.
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=" + os.DevNull,
	}
	env = append(env, configuration(
		"http.receivepack", "true",
		"uploadpack.allowFilter", "true",
		// A background repack would outlive the request, and so the server.
		"receive.autogc", "false",
		"safe.directory", "*",
	)...)
	if settings.User != "" || settings.Password != "" {
		user, password, _ := r.BasicAuth()
		rightUser := subtle.ConstantTimeCompare([]byte(user), []byte(settings.User))
		rightPassword := subtle.ConstantTimeCompare([]byte(password), []byte(settings.Password))
		if rightUser&rightPassword != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="controlplane git"`)
			http.Error(w, "authentication required", http.StatusUnauthorized)
			return
		}
		env = append(env, "REMOTE_USER="+user)
	}
	// CGI turns the header into HTTP_GIT_PROTOCOL. Git before 2.34 does not look
	// there, and would silently answer in protocol v0.
	if protocol := r.Header.Get("Git-Protocol"); protocol != "" {
		env = append(env, "GIT_PROTOCOL="+protocol)
	}
	(&cgi.Handler{Path: s.backend, Root: "/", Dir: s.root, Env: env}).ServeHTTP(w, r)
}

// count counts a request and returns the settings that hold for it.
func (s *Server) count(path string) Settings {
	repository, what := s.split(path)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Total++
	counts := s.counts.PerRepository[repository]
	switch what {
	case "info/refs":
		counts.InfoRefs++
	case "git-upload-pack":
		counts.UploadPack++
	case "git-receive-pack":
		counts.ReceivePack++
	}
	s.counts.PerRepository[repository] = counts
	return s.settings
}

// split takes a path apart into repository and request. `shop` counts as
// `shop.git` where that is the folder, since http-backend serves it so too.
func (s *Server) split(path string) (repository, what string) {
	repository = strings.Trim(path, "/")
	for _, suffix := range []string{"info/refs", "git-upload-pack", "git-receive-pack"} {
		if before, found := strings.CutSuffix(repository, "/"+suffix); found {
			repository, what = before, suffix
			break
		}
	}
	if !strings.HasSuffix(repository, ".git") {
		if _, err := os.Stat(filepath.Join(s.root, filepath.Clean("/"+repository)+".git")); err == nil {
			repository += ".git"
		}
	}
	return repository, what
}

// configuration passes git settings by environment, so that the repositories
// themselves need none.
func configuration(pairs ...string) []string {
	env := []string{fmt.Sprintf("GIT_CONFIG_COUNT=%d", len(pairs)/2)}
	for i := 0; i < len(pairs); i += 2 {
		env = append(env,
			fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i/2, pairs[i]),
			fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i/2, pairs[i+1]))
	}
	return env
}
