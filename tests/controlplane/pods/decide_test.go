package pods

import (
	"fmt"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var then = meta.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))

// bound is a pod of a Deployment that was bound a moment ago; annotations in
// pairs without their prefix.
func bound(annotations ...string) *core.Pod {
	pod := &core.Pod{
		ObjectMeta: meta.ObjectMeta{Namespace: "n", Name: "p", UID: "u", Generation: 1, Annotations: map[string]string{}},
		Spec: core.PodSpec{
			NodeName: nodeName, RestartPolicy: core.RestartPolicyAlways,
			Containers: []core.Container{{Name: "c", Image: "web:1"}},
		},
		Status: core.PodStatus{Phase: core.PodPending},
	}
	for i := 0; i < len(annotations); i += 2 {
		pod.Annotations[annotationPrefix+annotations[i]] = annotations[i+1]
	}
	return pod
}

func ofJob(policy core.RestartPolicy, annotations ...string) *core.Pod {
	pod := bound(annotations...)
	controller := true
	pod.OwnerReferences = []meta.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "j", Controller: &controller}}
	pod.Spec.RestartPolicy = policy
	return pod
}

// live carries a pod through its steps as the API server would, and tells what
// each write said and when. It stops when nothing is left to wait for, or after
// an hour.
func live(t *testing.T, pod *core.Pod) (story []string) {
	t.Helper()
	clock, waited := time.Duration(0), time.Duration(0)
	for range 30 {
		step := Decide(pod, waited, then)
		switch step.Act {
		case Nothing:
		case Write:
			pod.Status = step.Status
			waited = 0
			story = append(story, fmt.Sprintf("%v %s", clock, tell(pod)))
			if again := Decide(pod, 0, meta.NewTime(then.Add(time.Minute))); again.Act != Nothing {
				t.Fatalf("the same write again, for ever: %s", tell(pod))
			}
		default:
			t.Fatalf("unexpected act %v", step.Act)
		}
		if step.Wait == 0 || clock > time.Hour {
			return story
		}
		clock, waited = clock+step.Wait, waited+step.Wait
	}
	return story
}

func tell(pod *core.Pod) string {
	container := pod.Status.ContainerStatuses[0]
	said := string(pod.Status.Phase)
	if isReady(pod) {
		said += " ready"
	}
	if container.State.Waiting != nil {
		said += " " + container.State.Waiting.Reason
	}
	if container.State.Terminated != nil {
		said += fmt.Sprintf(" exit %d", container.State.Terminated.ExitCode)
	}
	if container.RestartCount > 0 {
		said += fmt.Sprintf(" restarts %d", container.RestartCount)
	}
	return said
}

func TestEachControlMakesThePodLiveThroughItsStory(t *testing.T) {
	broken := func(pod *core.Pod) *core.Pod {
		pod.Spec.Containers[0].Image = "example/broken:1"
		return pod
	}
	bare := func(pod *core.Pod) *core.Pod {
		pod.Spec.RestartPolicy = core.RestartPolicyNever
		return pod
	}
	for name, test := range map[string]struct {
		pod  *core.Pod
		want []string
	}{
		"a pod is ready after one write":     {bound(), []string{"50ms Running ready"}},
		"a delay is seen":                    {bound("delay", "2s"), []string{"0s Running", "2s Running ready"}},
		"never ready":                        {bound("ready", "never"), []string{"0s Running"}},
		"a broken image":                     {broken(bound()), []string{"0s Pending ImagePullBackOff"}},
		"ignored":                            {bound("ignore", "true"), nil},
		"a job succeeds":                     {ofJob(core.RestartPolicyNever), []string{"200ms Succeeded exit 0"}},
		"a job fails":                        {ofJob(core.RestartPolicyNever, "exit-code", "3"), []string{"200ms Failed exit 3"}},
		"a job runs for its delay":           {ofJob(core.RestartPolicyNever, "delay", "1s"), []string{"0s Running", "1s Succeeded exit 0"}},
		"a job never ends":                   {ofJob(core.RestartPolicyNever, "ready", "never"), []string{"0s Running"}},
		"a bare pod that may end":            {bare(bound("exit-code", "0")), []string{"200ms Succeeded exit 0"}},
		"a bare pod runs":                    {bare(bound()), []string{"50ms Running ready"}},
		"an exit code needs one that ends":   {bound("exit-code", "1"), []string{"50ms Running ready"}},
		"a misspelt value is not overlooked": {bound("delay", "soon"), []string{"0s Pending CreateContainerConfigError"}},
		"a misspelt name is not overlooked":  {bound("redy", "never"), []string{"0s Pending CreateContainerConfigError"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := live(t, test.pod); !equality.Semantic.DeepEqual(got, test.want) {
				t.Errorf("lived %q, want %q", got, test.want)
			}
		})
	}
}

func TestACrashLoopCountsUpWithADoublingBackOff(t *testing.T) {
	want := []string{
		"0s Running CrashLoopBackOff restarts 1", "1s Running CrashLoopBackOff restarts 2",
		"3s Running CrashLoopBackOff restarts 3", "7s Running CrashLoopBackOff restarts 4",
	}
	got := live(t, bound("crash", "true", "delay", "1s"))
	if len(got) < 4 || !equality.Semantic.DeepEqual(got[:4], want) {
		t.Errorf("lived %q, want it to begin %q", got, want)
	}
	// A Job's pod that restarts in place does the same once it ended badly.
	got = live(t, ofJob(core.RestartPolicyOnFailure, "exit-code", "2", "delay", "1s"))
	if len(got) < 3 || got[1] != "1s Running CrashLoopBackOff restarts 1" || got[2] != "2s Running CrashLoopBackOff restarts 2" {
		t.Errorf("lived %q", got)
	}
}

func TestAnAnnotationTurnsALivePod(t *testing.T) {
	pod := bound()
	live(t, pod)
	pod.Annotations[annotationPrefix+"ready"] = "never"
	if got := live(t, pod); len(got) != 1 || got[0] != "0s Running" {
		t.Errorf("lived %q", got)
	}
	delete(pod.Annotations, annotationPrefix+"ready")
	if got := live(t, pod); len(got) != 1 || got[0] != "50ms Running ready" {
		t.Errorf("lived %q", got)
	}
}

func TestAnUnboundPodIsBoundUnlessSomethingHoldsIt(t *testing.T) {
	unbound := func(change func(*core.Pod)) *core.Pod {
		pod := bound()
		pod.Spec.NodeName = ""
		change(pod)
		return pod
	}
	for want, pod := range map[Act]*core.Pod{
		Bind: unbound(func(*core.Pod) {}),
		Nothing: unbound(func(pod *core.Pod) {
			pod.Spec.SchedulingGates = []core.PodSchedulingGate{{Name: "test.lockstep.dev/wait"}}
		}),
	} {
		if got := Decide(pod, 0, then).Act; got != want {
			t.Errorf("decided %v, want %v", got, want)
		}
	}
}

func TestADeletedPodIsDeletedOnceEvenWhenIgnored(t *testing.T) {
	pod := bound("ignore", "true")
	grace := int64(30)
	pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &then, &grace
	if got := Decide(pod, 0, then).Act; got != Delete {
		t.Errorf("decided %v", got)
	}
	// What our DELETE leaves behind when a finalizer holds the pod.
	grace = 0
	if got := Decide(pod, 0, then).Act; got != Nothing {
		t.Errorf("decided %v", got)
	}
}

func TestAPodOfAnotherNodeIsLeftAlone(t *testing.T) {
	pod := bound()
	pod.Spec.NodeName = "elsewhere"
	pod.DeletionTimestamp = &then
	if got := Decide(pod, 0, then).Act; got != Nothing {
		t.Errorf("decided %v", got)
	}
}

func TestABrokenInitContainerKeepsTheOthersFromStarting(t *testing.T) {
	pod := bound()
	pod.Spec.InitContainers = []core.Container{{Name: "init", Image: "broken"}}
	if got := live(t, pod); len(got) != 1 || got[0] != "0s Pending PodInitializing" {
		t.Errorf("lived %q", got)
	}
	if state := pod.Status.InitContainerStatuses[0].State; state.Waiting == nil || state.Waiting.Reason != "ImagePullBackOff" {
		t.Errorf("the init container is %+v", state)
	}
}
