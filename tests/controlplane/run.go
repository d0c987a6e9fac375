package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// portRaces is how often a port that was lost to another process between
// finding and using it is tried again. Losing even one is rare.
const portRaces = 5

// errPortTaken says that a child could not listen.
var errPortTaken = errors.New("another process took the port")

// errStopped says that nobody wants the control plane any more.
var errStopped = errors.New("stopped")

// Ready is what run prints on standard output, once, on one line.
type Ready struct {
	Server     string         `json:"server"`
	CA         string         `json:"ca"`
	AdminToken string         `json:"adminToken"`
	Kubeconfig string         `json:"kubeconfig"`
	AuditLog   string         `json:"auditLog"`
	Git        string         `json:"git"`
	GitRoot    string         `json:"gitRoot"`
	PIDs       map[string]int `json:"pids"`
}

type options struct {
	dir, gitRoot             string
	audit, controllers, pods bool
	deadline                 time.Duration
}

// run starts everything as children of this process, says so, and ends them
// when standard input closes.
func run(args []string) error {
	var o options
	flags := flag.NewFlagSet("run", flag.ExitOnError)
	flags.StringVar(&o.dir, "dir", "", "directory for keys, kubeconfigs and logs (made if absent)")
	flags.StringVar(&o.gitRoot, "git-root", "", "directory of bare repositories (default DIR/git)")
	flags.BoolVar(&o.audit, "audit", false, "write DIR/audit.log")
	noControllers := flags.Bool("no-controllers", false, "leave the controller manager out")
	noPods := flags.Bool("no-pods", false, "leave scheduler and kubelet out")
	flags.DurationVar(&o.deadline, "timeout", 2*time.Minute, "how long the start may take")
	flags.Parse(args)
	if o.dir == "" {
		return errors.New("--dir is required")
	}
	o.controllers, o.pods = !*noControllers, !*noPods
	for _, path := range []*string{&o.dir, &o.gitRoot} {
		if *path == "" {
			*path = filepath.Join(o.dir, "git")
		}
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(absolute, 0o700); err != nil {
			return err
		}
		*path = absolute
	}

	stop := make(chan struct{})
	go func() {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
		closed := make(chan struct{})
		go func() {
			io.Copy(io.Discard, os.Stdin)
			close(closed)
		}()
		select {
		case <-signals:
		case <-closed:
		}
		close(stop)
	}()

	data, release, err := etcdData(o.dir)
	if err != nil {
		return err
	}
	defer release()
	for race := 1; ; race++ {
		err := once(o, data, stop)
		switch {
		case errors.Is(err, errPortTaken) && race < portRaces:
			fmt.Fprintf(os.Stderr, "controlplane run: %v; trying others\n", err)
		case errors.Is(err, errStopped):
			return nil
		default:
			return err
		}
		if err := os.RemoveAll(data); err != nil {
			return err
		}
	}
}

// once is one life of the control plane, on ports that were free a moment ago.
func once(o options, etcdDir string, stop <-chan struct{}) error {
	start := time.Now()
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	etcd, peer, server := ports[0], ports[1], ports[2]
	url := "https://" + server
	files, err := writeFiles(o.dir, url)
	if err != nil {
		return err
	}

	family := &family{dir: o.dir, ended: make(chan *child)}
	defer family.killAll()
	wait := func(what string, done func() bool) error {
		return family.wait(what, time.Until(start.Add(o.deadline)), stop, done)
	}

	if err := family.start("etcd", "etcd",
		"--name", "controlplane", "--data-dir", etcdDir,
		"--listen-client-urls", "http://"+etcd, "--advertise-client-urls", "http://"+etcd,
		"--listen-peer-urls", "http://"+peer, "--initial-advertise-peer-urls", "http://"+peer,
		"--initial-cluster", "controlplane=http://"+peer,
		// The data dies with the process, so nothing needs to reach a disk; and
		// the default quota of 2 GB ends a large benchmark.
		"--unsafe-no-fsync", "--quota-backend-bytes", "8589934592",
		"--log-level", "error"); err != nil {
		return err
	}

	host, port, _ := net.SplitHostPort(server)
	apiserver := []string{
		"--etcd-servers", "http://" + etcd,
		"--bind-address", host, "--secure-port", port,
		// With these two it starts without any other network interface.
		"--advertise-address", host, "--endpoint-reconciler-type", "none",
		"--cert-dir", files.certs,
		"--authorization-mode", "RBAC", // the default is AlwaysAllow
		"--token-auth-file", files.tokens,
		"--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-key-file", files.publicKey,
		"--service-account-signing-key-file", files.privateKey,
		"--service-cluster-ip-range", "10.0.0.0/16", "--allow-privileged",
	}
	auditLog := ""
	if o.audit {
		auditLog = filepath.Join(o.dir, "audit.log")
		if err := os.RemoveAll(auditLog); err != nil {
			return err
		}
		apiserver = append(apiserver, "--audit-policy-file", files.auditPolicy, "--audit-log-path", auditLog,
			// Rotation, at 100 MB by default, would take lines away from a reader.
			"--audit-log-maxsize", "100000")
	}
	if err := family.start("apiserver", append([]string{"apiserver"}, apiserver...)...); err != nil {
		return err
	}
	if err := family.start("git", "git", "--root", o.gitRoot); err != nil {
		return err
	}

	client := &client{url: url, token: files.admin, ca: files.ca}
	if err := wait("/readyz of the API server", func() bool { return client.ok("/readyz") }); err != nil {
		return err
	}
	if o.controllers {
		if err := family.start("controllers", "controllers",
			"--kubeconfig", files.controllers, "--leader-elect=false", "--use-service-account-credentials=false",
			"--secure-port", "0",
			"--root-ca-file", files.ca, "--service-account-private-key-file", files.privateKey,
			"--controllers", strings.Join(controllerNames, ","),
			// The defaults, 20 requests a second and 5 at once, are slower than
			// what is tested.
			"--kube-api-qps", "500", "--kube-api-burst", "1000",
			"--concurrent-deployment-syncs", "20", "--concurrent-replicaset-syncs", "20",
			"--concurrent-namespace-syncs", "20"); err != nil {
			return err
		}
	}
	if o.pods {
		if err := family.start("pods", "pods", "--kubeconfig", files.pods); err != nil {
			return err
		}
	}
	if o.controllers {
		// Admission refuses pods before this exists.
		if err := wait("the ServiceAccount default", func() bool {
			return client.ok("/api/v1/namespaces/default/serviceaccounts/default")
		}); err != nil {
			return err
		}
	}
	gitURL := ""
	if err := wait("git to listen", func() bool {
		line, _ := firstLine(filepath.Join(o.dir, "git.out"))
		gitURL = line
		return line != ""
	}); err != nil {
		return err
	}

	line, err := json.Marshal(Ready{
		Server: url, CA: files.ca, AdminToken: files.admin, Kubeconfig: files.kubeconfig, AuditLog: auditLog,
		Git: gitURL, GitRoot: o.gitRoot, PIDs: family.pids(),
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "controlplane run: ready after %.1f s\n", time.Since(start).Seconds())
	if _, err := fmt.Printf("%s\n", line); err != nil {
		return err
	}
	return family.wait("", 0, stop, nil)
}

// controllerNames are what tests need, and no more: each costs memory and
// watches.
var controllerNames = []string{
	"deployment-controller", "replicaset-controller", "statefulset-controller", "daemonset-controller",
	"job-controller", "cronjob-controller", "namespace-controller", "garbage-collector-controller",
	"serviceaccount-controller", "serviceaccount-token-controller", "root-ca-certificate-publisher-controller",
	"endpoints-controller", "endpointslice-controller", "disruption-controller", "resourcequota-controller",
	"ttl-after-finished-controller", "clusterrole-aggregation-controller",
}

// freePorts finds addresses that are free now. They are held together until
// all are found, so that they differ.
func freePorts(n int) (addresses []string, err error) {
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses, nil
}

type files struct {
	certs, ca, tokens, publicKey, privateKey, auditPolicy string
	kubeconfig, controllers, pods                         string
	admin                                                 string // the token
}

// writeFiles makes keys, tokens and kubeconfigs. Controllers and pods are users
// of their own, so that the audit log tells their requests from a test's.
func writeFiles(dir, url string) (f files, err error) {
	in := func(name string) string { return filepath.Join(dir, name) }
	f = files{
		certs: in("certs"), ca: in("certs/apiserver.crt"), tokens: in("tokens.csv"),
		publicKey: in("serviceaccounts.pub"), privateKey: in("serviceaccounts.key"), auditPolicy: in("audit-policy.yaml"),
		kubeconfig: in("admin.kubeconfig"), controllers: in("controllers.kubeconfig"), pods: in("pods.kubeconfig"),
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return f, err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return f, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return f, err
	}

	var tokens strings.Builder
	content := map[string]string{
		f.privateKey:  string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})),
		f.publicKey:   string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
		f.auditPolicy: auditPolicy,
	}
	for user, path := range map[string]string{"admin": f.kubeconfig, "controllers": f.controllers, "pods": f.pods} {
		token := rand.Text()
		if user == "admin" {
			f.admin = token
		}
		fmt.Fprintf(&tokens, "%s,controlplane:%s,controlplane:%s,system:masters\n", token, user, user)
		content[path] = fmt.Sprintf(kubeconfig, url, f.ca, user, token, user)
	}
	content[f.tokens] = tokens.String()
	for path, text := range content {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return f, err
		}
	}
	return f, nil
}

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
`

const kubeconfig = `apiVersion: v1
kind: Config
clusters:
  - name: controlplane
    cluster:
      server: %s
      certificate-authority: %q
users:
  - name: %s
    user:
      token: %s
contexts:
  - name: controlplane
    context: {cluster: controlplane, user: %s}
current-context: controlplane
`

// client asks the API server whether something is there yet.
type client struct {
	url, token, ca string
	http           *http.Client
}

func (c *client) ok(path string) bool {
	if c.http == nil {
		// The API server makes its certificate when it starts.
		certificate, err := os.ReadFile(c.ca)
		roots := x509.NewCertPool()
		if err != nil || !roots.AppendCertsFromPEM(certificate) {
			return false
		}
		c.http = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, c.url+path, nil)
	if err != nil {
		return false
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("User-Agent", "controlplane-run")
	answer, err := c.http.Do(request)
	if err != nil {
		return false
	}
	io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

func firstLine(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	line, err := bufio.NewReader(bytes.NewReader(content)).ReadString('\n')
	if err != nil {
		return "", err // not yet whole
	}
	return strings.TrimSpace(line), nil
}
