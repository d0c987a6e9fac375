package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	authentication "k8s.io/api/authentication/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// token prints a token of a ServiceAccount, made by TokenRequest as the kubelet
// makes those that pods get, so that what is tested with it is under real RBAC.
func token(args []string) error {
	flags := flag.NewFlagSet("token", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig of the administrator")
	namespace := flags.String("namespace", "default", "namespace of the ServiceAccount")
	name := flags.String("serviceaccount", "", "name of the ServiceAccount")
	lifetime := flags.Duration("lifetime", 24*time.Hour, "how long the token is valid (at least 10m)")
	flags.Parse(args)
	if *kubeconfig == "" || *name == "" {
		return errors.New("--kubeconfig and --serviceaccount are required")
	}

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	seconds := int64(lifetime.Seconds())
	answer, err := client.CoreV1().ServiceAccounts(*namespace).CreateToken(context.Background(), *name,
		&authentication.TokenRequest{Spec: authentication.TokenRequestSpec{ExpirationSeconds: &seconds}},
		meta.CreateOptions{})
	if err != nil {
		return err
	}
	fmt.Println(answer.Status.Token)
	return nil
}
