// Package watch follows the pods of a namespace and turns what is wrong with them into alerts.
package watch

import (
	"context"
	"fmt"
	"log"
	"time"

	"kindling.dev/examples/kpulse/internal/alert"
	"kindling.dev/examples/kpulse/internal/kube"
)

// broken are the reasons for which a container waits and will not start by itself.
var broken = map[string]bool{
	"CrashLoopBackOff":           true,
	"CreateContainerConfigError": true,
	"ErrImageNeverPull":          true,
	"ErrImagePull":               true,
	"ImagePullBackOff":           true,
	"InvalidImageName":           true,
}

// crashing says whether a container that is not waiting just now is still in a crash loop: it has to run
// for a minute before the alert is resolved.
func crashing(c kube.Container, now time.Time) bool {
	if c.RestartCount < 2 || c.LastState.Terminated == nil || c.LastState.Terminated.ExitCode == 0 {
		return false
	}
	return c.State.Running == nil || now.Sub(c.State.Running.StartedAt) < time.Minute
}

// Problems says what is wrong with a pod. A pod that is being deleted has no problems.
func Problems(pod kube.Pod, now time.Time) []alert.Alert {
	if pod.Metadata.DeletionTimestamp != "" {
		return nil
	}
	var found []alert.Alert
	add := func(container, reason, message string) {
		found = append(found, alert.Alert{
			Namespace: pod.Metadata.Namespace,
			Pod:       pod.Metadata.Name,
			Container: container,
			Reason:    reason,
			Message:   message,
			Since:     now,
		})
	}
	containers := append(append([]kube.Container{}, pod.Status.Init...), pod.Status.Containers...)
	for _, c := range containers {
		if waiting := c.State.Waiting; waiting != nil && broken[waiting.Reason] {
			// The two reasons for a missing image alternate; one alert stands for both.
			reason := waiting.Reason
			if reason == "ErrImagePull" {
				reason = "ImagePullBackOff"
			}
			add(c.Name, reason, waiting.Message)
		} else if crashing(c, now) {
			add(c.Name, "CrashLoopBackOff", fmt.Sprintf("restarted %d times", c.RestartCount))
		}
		for _, state := range []kube.State{c.State, c.LastState} {
			if state.Terminated != nil && state.Terminated.Reason == "OOMKilled" {
				add(c.Name, "OOMKilled", fmt.Sprintf("exit code %d", state.Terminated.ExitCode))
				break
			}
		}
	}
	if pod.Status.Phase == "Failed" && len(found) == 0 {
		message := pod.Status.Message
		for _, c := range containers {
			if ended := c.State.Terminated; ended != nil && ended.ExitCode != 0 {
				message = fmt.Sprintf("container %s ended with exit code %d", c.Name, ended.ExitCode)
			}
		}
		add("", "Failed", message)
	}
	return found
}

// Run keeps `list` true to the namespace until `ctx` ends, and hands every change to `tell`.
func Run(ctx context.Context, client *kube.Client, namespace string, list *alert.List, tell func(alert.Alert)) {
	update := func(pod kube.Pod, problems []alert.Alert) {
		for _, change := range list.Set(pod.Metadata.Namespace, pod.Metadata.Name, problems) {
			tell(change)
		}
	}
	for ctx.Err() == nil {
		pods, version, err := client.List(ctx, namespace)
		if err != nil {
			log.Printf("list pods of %s: %v", namespace, err)
			pause(ctx)
			continue
		}
		gone := list.Pods()
		for _, pod := range pods {
			delete(gone, pod.Metadata.Name)
			update(pod, Problems(pod, time.Now()))
		}
		for name := range gone {
			var pod kube.Pod
			pod.Metadata.Namespace, pod.Metadata.Name = namespace, name
			update(pod, nil)
		}
		err = client.Watch(ctx, namespace, version, func(event kube.Event) {
			if event.Type == "DELETED" {
				update(event.Pod, nil)
			} else {
				update(event.Pod, Problems(event.Pod, time.Now()))
			}
		})
		if err != nil && ctx.Err() == nil {
			log.Printf("watch pods of %s: %v", namespace, err)
			pause(ctx)
		}
	}
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
}
