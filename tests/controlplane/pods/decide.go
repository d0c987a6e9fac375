// Package pods plays scheduler and kubelet: it binds each pod to one node of its
// own making, writes the status that a kubelet would, and ends deleted pods.
package pods

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// nodeName is the one node of the cluster.
	nodeName = "controlplane"
	// nodeIP is outside of the Service range; a loopback address would be refused
	// in EndpointSlices.
	nodeIP = "10.63.0.1"

	annotationPrefix = "test.lockstep.dev/"

	// Long enough that a watcher sees a rollout go through its states, short
	// enough that nobody waits for it.
	defaultReadyDelay = 50 * time.Millisecond
	defaultEndDelay   = 200 * time.Millisecond

	// The kubelet's: 10 s, doubled at each restart, at most 5 minutes.
	defaultCrashDelay = 10 * time.Second
	longestCrashDelay = 5 * time.Minute
)

// Act is what to do next for a pod.
type Act int

const (
	// Nothing is to be done, or not before Step.Wait.
	Nothing Act = iota
	// Bind the pod to the node.
	Bind
	// Write Step.Status.
	Write
	// Delete the pod for good, as the kubelet does when its containers ended.
	Delete
)

// Step is the decision about one pod.
type Step struct {
	Act    Act
	Status core.PodStatus
	// Wait, when above zero, says after how long to look again.
	Wait time.Duration
}

// Decide says what to do about a pod. waited is the time since this process
// first saw the pod bound, or last wrote its status; now goes into the
// timestamps of the status and decides nothing.
func Decide(pod *core.Pod, waited time.Duration, now meta.Time) Step {
	if pod.Spec.NodeName != "" && pod.Spec.NodeName != nodeName {
		return Step{}
	}
	if pod.DeletionTimestamp != nil {
		// Grace 0 was our DELETE already: only finalizers keep the pod.
		if pod.DeletionGracePeriodSeconds != nil && *pod.DeletionGracePeriodSeconds == 0 {
			return Step{}
		}
		return Step{Act: Delete}
	}
	control, err := readControls(pod.Annotations)
	if control.ignore || pod.Status.Phase == core.PodSucceeded || pod.Status.Phase == core.PodFailed {
		return Step{}
	}
	if pod.Spec.NodeName == "" {
		if len(pod.Spec.SchedulingGates) > 0 {
			return Step{}
		}
		return Step{Act: Bind}
	}

	situation, wait := situate(pod, control, err, waited)
	if situation.kind == starting {
		// What a pod says that has just been bound is close enough.
		return Step{Wait: wait}
	}
	status := situation.status(pod, now)
	if equality.Semantic.DeepEqual(status, pod.Status) {
		return Step{Wait: wait}
	}
	return Step{Act: Write, Status: status, Wait: wait}
}

// controls are the annotations of a pod.
type controls struct {
	ignore, neverReady, crash bool
	exitCode                  *int32
	delay                     *time.Duration
}

// readControls refuses what it does not know: a misspelt control would let a
// test pass for the wrong reason.
func readControls(annotations map[string]string) (read controls, err error) {
	for key, value := range annotations {
		name, ours := strings.CutPrefix(key, annotationPrefix)
		if !ours {
			continue
		}
		known := true
		switch name {
		case "ignore":
			read.ignore, known = value == "true", value == "true" || value == "false"
		case "ready":
			read.neverReady, known = value == "never", value == "never"
		case "crash":
			read.crash, known = value == "true", value == "true" || value == "false"
		case "exit-code":
			code, bad := strconv.ParseInt(value, 10, 32)
			exitCode := int32(code)
			read.exitCode, known = &exitCode, bad == nil
		case "delay":
			delay, bad := time.ParseDuration(value)
			read.delay, known = &delay, bad == nil && delay >= 0
		default:
			known = false
		}
		if !known {
			err = fmt.Errorf("annotation %s: %q is not understood", key, value)
		}
	}
	return read, err
}

func (c controls) delayOr(standard time.Duration) time.Duration {
	if c.delay != nil {
		return *c.delay
	}
	return standard
}

type kind int

const (
	starting kind = iota // bound, nothing written yet
	running              // runs, not Ready
	ready
	ended    // a Job's pod: exitCode
	crashing // exitCode, restarts
	waiting  // reason, message; the containers with a broken image, or all
)

// situation is what goes on in a pod, before it is spelt out as a status.
type situation struct {
	kind            kind
	exitCode        int32
	restarts        int32
	reason, message string
	onlyBroken      bool
}

func situate(pod *core.Pod, control controls, unreadable error, waited time.Duration) (situation, time.Duration) {
	if unreadable != nil {
		return situation{kind: waiting, reason: "CreateContainerConfigError", message: unreadable.Error()}, 0
	}
	if hasBrokenImage(pod) {
		return situation{kind: waiting, reason: "ImagePullBackOff", onlyBroken: true}, 0
	}
	exitCode := int32(0)
	if control.exitCode != nil {
		exitCode = *control.exitCode
	}
	ends := isOfJob(pod) || control.exitCode != nil && pod.Spec.RestartPolicy != core.RestartPolicyAlways
	switch {
	case control.crash:
		if exitCode == 0 {
			exitCode = 1
		}
		return crash(pod, control, exitCode, waited)
	case control.neverReady:
		return situation{kind: running}, 0
	case ends:
		restartsInPlace := exitCode != 0 && pod.Spec.RestartPolicy == core.RestartPolicyOnFailure
		if restartsInPlace && restarts(pod) > 0 {
			return crash(pod, control, exitCode, waited)
		}
		if left := control.delayOr(defaultEndDelay) - waited; left > 0 {
			return during(control), left
		}
		if restartsInPlace {
			return crash(pod, control, exitCode, waited)
		}
		return situation{kind: ended, exitCode: exitCode}, 0
	}
	if isReady(pod) {
		return situation{kind: ready}, 0
	}
	if left := control.delayOr(defaultReadyDelay) - waited; left > 0 {
		return during(control), left
	}
	return situation{kind: ready}, 0
}

// during is what a pod shows until its delay is over. The default delays are
// too short to spend a write on; who asked for a delay wants to see it run.
func during(control controls) situation {
	if control.delay != nil {
		return situation{kind: running}
	}
	return situation{kind: starting}
}

// crash is the first crash at once, and each further one after the back-off.
func crash(pod *core.Pod, control controls, exitCode int32, waited time.Duration) (situation, time.Duration) {
	restarts := restarts(pod)
	if restarts > 0 && isInBackOff(pod) {
		if left := backOff(control, restarts) - waited; left > 0 {
			return situation{kind: crashing, exitCode: exitCode, restarts: restarts}, left
		}
	}
	restarts++
	return situation{kind: crashing, exitCode: exitCode, restarts: restarts}, backOff(control, restarts)
}

func restarts(pod *core.Pod) (most int32) {
	for _, container := range pod.Status.ContainerStatuses {
		most = max(most, container.RestartCount)
	}
	return most
}

func isInBackOff(pod *core.Pod) bool {
	for _, container := range pod.Status.ContainerStatuses {
		if container.State.Waiting != nil && container.State.Waiting.Reason == "CrashLoopBackOff" {
			return true
		}
	}
	return false
}

func backOff(control controls, restarts int32) time.Duration {
	delay := max(control.delayOr(defaultCrashDelay), time.Millisecond)
	for ; restarts > 1 && delay < longestCrashDelay; restarts-- {
		delay *= 2
	}
	return min(delay, longestCrashDelay)
}

func isOfJob(pod *core.Pod) bool {
	owner := meta.GetControllerOf(pod)
	return owner != nil && owner.Kind == "Job" && strings.HasPrefix(owner.APIVersion, "batch/")
}

func isBroken(container *core.Container) bool { return strings.Contains(container.Image, "broken") }

func hasBrokenImage(pod *core.Pod) bool {
	for _, containers := range [][]core.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			if isBroken(&containers[i]) {
				return true
			}
		}
	}
	return false
}

func isReady(pod *core.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == core.ContainersReady {
			return condition.Status == core.ConditionTrue
		}
	}
	return false
}

// status spells a situation out over what the pod says now. It is equal to what
// the pod says now when nothing changed, timestamps included.
func (s situation) status(pod *core.Pod, now meta.Time) core.PodStatus {
	status := *pod.Status.DeepCopy()
	status.ObservedGeneration = pod.Generation
	status.HostIP, status.HostIPs = nodeIP, []core.HostIP{{IP: nodeIP}}
	status.PodIP = podIP(pod)
	status.PodIPs = []core.PodIP{{IP: status.PodIP}}
	if status.StartTime == nil {
		status.StartTime = &now
	}

	initialized := !(s.kind == waiting && (!s.onlyBroken || anyBroken(pod.Spec.InitContainers)))
	status.InitContainerStatuses = s.containers(pod.Spec.InitContainers, pod.Status.InitContainerStatuses, now, true, initialized)
	status.ContainerStatuses = s.containers(pod.Spec.Containers, pod.Status.ContainerStatuses, now, false, initialized)

	switch s.kind {
	case waiting:
		status.Phase = core.PodPending
	case ended:
		status.Phase = core.PodSucceeded
		if s.exitCode != 0 {
			status.Phase = core.PodFailed
		}
	default:
		status.Phase = core.PodRunning
	}

	containersReady, reason := s.kind == ready, "ContainersNotReady"
	if s.kind == ended && s.exitCode == 0 {
		reason = "PodCompleted"
	}
	set := func(kind core.PodConditionType, is bool, reason string) {
		setCondition(&status, kind, is, reason, now)
	}
	set(core.PodScheduled, true, "")
	set(core.PodReadyToStartContainers, s.kind != ended, "")
	set(core.PodInitialized, initialized, "ContainersNotInitialized")
	set(core.ContainersReady, containersReady, reason)
	if containersReady && !gatesOpen(pod) {
		set(core.PodReady, false, "ReadinessGatesNotReady")
	} else {
		set(core.PodReady, containersReady, reason)
	}
	return status
}

func (s situation) containers(specs []core.Container, before []core.ContainerStatus, now meta.Time, init, initialized bool) []core.ContainerStatus {
	if len(specs) == 0 {
		return before
	}
	statuses := make([]core.ContainerStatus, 0, len(specs))
	for i := range specs {
		spec := &specs[i]
		status := core.ContainerStatus{Name: spec.Name}
		for j := range before {
			if before[j].Name == spec.Name {
				status = *before[j].DeepCopy()
			}
		}
		status.Image = spec.Image
		if status.ImageID == "" {
			status.ImageID = spec.Image
		}
		s.container(&status, spec, now, init, initialized)
		statuses = append(statuses, status)
	}
	return statuses
}

func (s situation) container(status *core.ContainerStatus, spec *core.Container, now meta.Time, init, initialized bool) {
	sidecar := init && spec.RestartPolicy != nil && *spec.RestartPolicy == core.ContainerRestartPolicyAlways
	yes, no := true, false
	runs := func(ready bool) {
		if status.State.Running == nil {
			status.State = core.ContainerState{Running: &core.ContainerStateRunning{StartedAt: now}}
		}
		status.Ready, status.Started = ready, &yes
	}
	waits := func(reason, message string) {
		status.State = core.ContainerState{Waiting: &core.ContainerStateWaiting{Reason: reason, Message: message}}
		status.Ready, status.Started = false, &no
	}
	ends := func(state *core.ContainerState, exitCode int32) {
		if state.Terminated == nil || state.Terminated.ExitCode != exitCode {
			reason := "Completed"
			if exitCode != 0 {
				reason = "Error"
			}
			*state = core.ContainerState{Terminated: &core.ContainerStateTerminated{
				ExitCode: exitCode, Reason: reason, StartedAt: now, FinishedAt: now,
			}}
		}
	}

	switch {
	case s.kind == waiting && s.onlyBroken && isBroken(spec):
		waits(s.reason, fmt.Sprintf("Back-off pulling image %q", spec.Image))
	case s.kind == waiting && !s.onlyBroken:
		waits(s.reason, s.message)
	case !init && !initialized:
		waits("PodInitializing", "")
	case init && !sidecar:
		ends(&status.State, 0)
		status.Ready, status.Started = true, &no
	case sidecar && s.kind != ended, s.kind == waiting:
		runs(true)
	case s.kind == running:
		runs(false)
	case s.kind == ready:
		runs(true)
	case s.kind == crashing:
		waits("CrashLoopBackOff", fmt.Sprintf("back-off restarting failed container %s", spec.Name))
		if status.RestartCount != s.restarts {
			status.LastTerminationState = core.ContainerState{}
		}
		ends(&status.LastTerminationState, s.exitCode)
		status.RestartCount = s.restarts
	case s.kind == ended:
		exitCode := s.exitCode
		if sidecar {
			exitCode = 0
		}
		ends(&status.State, exitCode)
		status.Ready, status.Started = false, &no
	}
}

func anyBroken(containers []core.Container) bool {
	for i := range containers {
		if isBroken(&containers[i]) {
			return true
		}
	}
	return false
}

// gatesOpen says whether every readiness gate was opened by whoever owns it.
func gatesOpen(pod *core.Pod) bool {
	for _, gate := range pod.Spec.ReadinessGates {
		open := false
		for _, condition := range pod.Status.Conditions {
			open = open || condition.Type == gate.ConditionType && condition.Status == core.ConditionTrue
		}
		if !open {
			return false
		}
	}
	return true
}

func setCondition(status *core.PodStatus, kind core.PodConditionType, is bool, reason string, now meta.Time) {
	want := core.PodCondition{Type: kind, Status: core.ConditionTrue, LastTransitionTime: now}
	if !is {
		want.Status, want.Reason = core.ConditionFalse, reason
	}
	for i := range status.Conditions {
		if have := &status.Conditions[i]; have.Type == kind {
			if have.Status == want.Status {
				have.Reason = want.Reason
				return
			}
			*have = want
			return
		}
	}
	status.Conditions = append(status.Conditions, want)
}

// podIP derives an address from the uid, so that it needs no memory. Two pods
// may share one (10.64.0.0/10 has 4 million); nothing here routes by it.
func podIP(pod *core.Pod) string {
	if pod.Spec.HostNetwork {
		return nodeIP
	}
	hash := fnv.New32a()
	hash.Write([]byte(pod.UID))
	sum := hash.Sum32()
	return fmt.Sprintf("10.%d.%d.%d", 64+sum>>24%64, sum>>8&0xff, 1+sum&0xff%254)
}
