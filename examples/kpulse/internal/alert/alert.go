// Package alert says what is wrong with a pod, and keeps the list of what is wrong just now.
package alert

import (
	"sort"
	"sync"
	"time"
)

// Alert is one thing that is wrong with one container, or with a pod as a whole.
type Alert struct {
	Namespace string    `json:"namespace"`
	Pod       string    `json:"pod"`
	Container string    `json:"container,omitempty"`
	Reason    string    `json:"reason"`
	Message   string    `json:"message,omitempty"`
	Since     time.Time `json:"since"`
	Resolved  bool      `json:"resolved,omitempty"`
}

// Key tells two alerts apart. A pod that fails for another reason is another alert.
func (a Alert) Key() string {
	return a.Namespace + "/" + a.Pod + "/" + a.Container + "/" + a.Reason
}

// List holds the alerts that stand. It is safe for use by several goroutines.
type List struct {
	mu     sync.Mutex
	active map[string]Alert
}

// NewList returns an empty list.
func NewList() *List {
	return &List{active: map[string]Alert{}}
}

// Set replaces what is known about one pod and returns what is new and what has been resolved.
func (l *List) Set(namespace, pod string, now []Alert) []Alert {
	l.mu.Lock()
	defer l.mu.Unlock()
	var changes []Alert
	wanted := map[string]bool{}
	for _, a := range now {
		wanted[a.Key()] = true
		if _, known := l.active[a.Key()]; !known {
			l.active[a.Key()] = a
			changes = append(changes, a)
		}
	}
	for key, a := range l.active {
		if a.Namespace == namespace && a.Pod == pod && !wanted[key] {
			delete(l.active, key)
			a.Resolved = true
			changes = append(changes, a)
		}
	}
	return changes
}

// Pods returns the names of the pods that alerts stand for.
func (l *List) Pods() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	pods := map[string]bool{}
	for _, a := range l.active {
		pods[a.Pod] = true
	}
	return pods
}

// All returns the alerts that stand, oldest first.
func (l *List) All() []Alert {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Alert, 0, len(l.active))
	for _, a := range l.active {
		all = append(all, a)
	}
	sort.Slice(all, func(i, j int) bool {
		if !all[i].Since.Equal(all[j].Since) {
			return all[i].Since.Before(all[j].Since)
		}
		return all[i].Key() < all[j].Key()
	})
	return all
}
