package pods

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
)

// workers bounds the requests in flight. The API server answers such a write in
// some milliseconds and shares the machine with us: more would only queue there.
const workers = 8

// Main is the verb `pods`. It runs until it is killed.
func Main(args []string) error {
	flags := flag.NewFlagSet("pods", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig of the API server")
	flags.Parse(args)
	if *kubeconfig == "" {
		return errors.New("--kubeconfig is required")
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = config.ContentType + ",application/json"
	config.QPS = -1 // no limit of our own
	config.UserAgent = "controlplane-pods"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}

	ctx := context.Background()
	if err := makeNode(ctx, client); err != nil {
		return fmt.Errorf("make the node: %w", err)
	}

	factory := informers.NewSharedInformerFactory(client, 0)
	informer := factory.Core().V1().Pods().Informer()
	k := &kubelet{
		client: client,
		pods:   factory.Core().V1().Pods().Lister(),
		queue:  workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[cache.ObjectName]()),
		since:  map[types.UID]time.Time{},
	}
	// An update without managed fields keeps those that are stored, and they are
	// the half of a pod.
	if err := informer.SetTransform(func(object any) (any, error) {
		if pod, ok := object.(*core.Pod); ok {
			pod.ManagedFields = nil
		}
		return object, nil
	}); err != nil {
		return err
	}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    k.enqueue,
		UpdateFunc: func(_, pod any) { k.enqueue(pod) },
		DeleteFunc: k.forget,
	}); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	for range workers {
		go k.work(ctx)
	}
	select {}
}

type kubelet struct {
	client kubernetes.Interface
	pods   listers.PodLister
	queue  workqueue.TypedRateLimitingInterface[cache.ObjectName]

	mu sync.Mutex
	// since is when a bound pod was first seen, or its status last written.
	since map[types.UID]time.Time
}

func (k *kubelet) enqueue(object any) {
	if pod, ok := object.(*core.Pod); ok {
		k.queue.Add(cache.MetaObjectToName(pod))
	}
}

func (k *kubelet) forget(object any) {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	if pod, ok := object.(*core.Pod); ok {
		k.mu.Lock()
		delete(k.since, pod.UID)
		k.mu.Unlock()
	}
}

func (k *kubelet) work(ctx context.Context) {
	for {
		key, over := k.queue.Get()
		if over {
			return
		}
		wait, err := k.step(ctx, key)
		switch {
		case err == nil, apierrors.IsNotFound(err):
			k.queue.Forget(key)
			if wait > 0 {
				k.queue.AddAfter(key, wait)
			}
		default:
			// A conflict says that our copy is old; the watch brings the new one.
			if !apierrors.IsConflict(err) {
				fmt.Fprintf(os.Stderr, "pods: %s: %v\n", key, err)
			}
			k.queue.AddRateLimited(key)
		}
		k.queue.Done(key)
	}
}

func (k *kubelet) step(ctx context.Context, key cache.ObjectName) (wait time.Duration, err error) {
	pod, err := k.pods.Pods(key.Namespace).Get(key.Name)
	if err != nil {
		return 0, err
	}
	step := Decide(pod, k.waited(pod), meta.Now())
	pods := k.client.CoreV1().Pods(key.Namespace)
	switch step.Act {
	case Bind:
		err = pods.Bind(ctx, &core.Binding{
			ObjectMeta: meta.ObjectMeta{Namespace: key.Namespace, Name: key.Name, UID: pod.UID},
			Target:     core.ObjectReference{Kind: "Node", Name: nodeName},
		}, meta.CreateOptions{})
	case Write:
		changed := pod.DeepCopy()
		changed.Status = step.Status
		if _, err = pods.UpdateStatus(ctx, changed, meta.UpdateOptions{}); err == nil {
			k.mu.Lock()
			k.since[pod.UID] = time.Now()
			k.mu.Unlock()
		}
	case Delete:
		now := int64(0)
		err = pods.Delete(ctx, key.Name, meta.DeleteOptions{
			GracePeriodSeconds: &now, Preconditions: &meta.Preconditions{UID: &pod.UID},
		})
	}
	return step.Wait, err
}

func (k *kubelet) waited(pod *core.Pod) time.Duration {
	if pod.Spec.NodeName == "" {
		return 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	since, seen := k.since[pod.UID]
	if !seen {
		k.since[pod.UID] = time.Now()
		return 0
	}
	return time.Since(since)
}

// makeNode makes the node, Ready and roomy enough for any test.
func makeNode(ctx context.Context, client kubernetes.Interface) error {
	nodes := client.CoreV1().Nodes()
	node, err := nodes.Create(ctx, &core.Node{ObjectMeta: meta.ObjectMeta{
		Name: nodeName,
		Labels: map[string]string{
			core.LabelHostname: nodeName, core.LabelOSStable: "linux", core.LabelArchStable: "amd64",
		},
	}}, meta.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		node, err = nodes.Get(ctx, nodeName, meta.GetOptions{})
	}
	if err != nil {
		return err
	}

	// Admission taints a new node as not ready; the controller that would take
	// the taint off wants heartbeats, and does not run.
	node.Spec.Taints = nil
	if node, err = nodes.Update(ctx, node, meta.UpdateOptions{}); err != nil {
		return err
	}
	now := meta.Now()
	room := core.ResourceList{
		core.ResourceCPU: resource.MustParse("10k"), core.ResourceMemory: resource.MustParse("100Ti"),
		core.ResourceEphemeralStorage: resource.MustParse("100Ti"), core.ResourcePods: resource.MustParse("100k"),
	}
	node.Status.Capacity, node.Status.Allocatable = room, room
	node.Status.Addresses = []core.NodeAddress{
		{Type: core.NodeInternalIP, Address: nodeIP}, {Type: core.NodeHostName, Address: nodeName},
	}
	node.Status.NodeInfo.KubeletVersion = "v1.36.3"
	node.Status.Conditions = []core.NodeCondition{{
		Type: core.NodeReady, Status: core.ConditionTrue, Reason: "KubeletReady",
		LastHeartbeatTime: now, LastTransitionTime: now,
	}}
	_, err = nodes.UpdateStatus(ctx, node, meta.UpdateOptions{})
	return err
}
