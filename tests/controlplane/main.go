// Command controlplane is a real Kubernetes control plane in one binary, for
// tests, the demo and the benchmarks. Each verb is a process of its own,
// because flags, feature gates and metric registries are global to a process.
package main

import (
	"fmt"
	"os"
	"runtime"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"

	"lockstep.dev/controlplane/git"
	"lockstep.dev/controlplane/pods"
)

const usage = `usage: controlplane VERB [flags]

  run          start everything below as children, print one line of JSON, end with standard input
  etcd         the real etcd
  apiserver    the real kube-apiserver
  controllers  the real kube-controller-manager
  pods         scheduler and kubelet for tests
  git          bare repositories over smart HTTP
  token        print a token of a ServiceAccount
`

// The kernel sends Pdeathsig when the thread that started a child ends, not
// when its process does. main runs on the main thread from here on, and that
// one lives as long as the process.
func init() { runtime.LockOSThread() }

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	verb, args := os.Args[1], os.Args[2:]
	// The Kubernetes and etcd commands read os.Args[1:] themselves.
	os.Args = append([]string{"controlplane-" + verb}, args...)

	var err error
	switch verb {
	case "etcd":
		runtime.UnlockOSThread()
		etcdmain.Main(os.Args)
	case "apiserver":
		runtime.UnlockOSThread()
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "controllers":
		runtime.UnlockOSThread()
		os.Exit(cli.Run(controllers.NewControllerManagerCommand()))
	case "pods":
		err = pods.Main(args)
	case "git":
		err = git.Main(args)
	case "token":
		err = token(args)
	case "run":
		err = run(args)
	case "help", "-h", "--help":
		fmt.Print(usage)
	default:
		fmt.Fprintf(os.Stderr, "controlplane: unknown verb %q\n\n%s", verb, usage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "controlplane %s: %v\n", verb, err)
		os.Exit(1)
	}
}
