// Package kube reads pods from the API server with nothing but the standard library.
package kube

import "time"

// Pod is the little of a pod that tells whether it is broken.
type Pod struct {
	Metadata struct {
		Name              string `json:"name"`
		Namespace         string `json:"namespace"`
		DeletionTimestamp string `json:"deletionTimestamp"`
	} `json:"metadata"`
	Status struct {
		Phase      string      `json:"phase"`
		Reason     string      `json:"reason"`
		Message    string      `json:"message"`
		Init       []Container `json:"initContainerStatuses"`
		Containers []Container `json:"containerStatuses"`
	} `json:"status"`
}

// Container is the status of one container.
type Container struct {
	Name         string `json:"name"`
	RestartCount int    `json:"restartCount"`
	State        State  `json:"state"`
	LastState    State  `json:"lastState"`
}

// State is what a container does now, or did last.
type State struct {
	Waiting *struct {
		Reason  string `json:"reason"`
		Message string `json:"message"`
	} `json:"waiting"`
	Running *struct {
		StartedAt time.Time `json:"startedAt"`
	} `json:"running"`
	Terminated *struct {
		Reason   string `json:"reason"`
		ExitCode int    `json:"exitCode"`
	} `json:"terminated"`
}
