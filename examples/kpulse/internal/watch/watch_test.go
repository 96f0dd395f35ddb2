package watch

import (
	"encoding/json"
	"testing"
	"time"

	"kindling.dev/examples/kpulse/internal/kube"
)

func TestProblems(t *testing.T) {
	cases := map[string]struct{ status, reason string }{
		"a pod that runs":          {`{"phase": "Running", "containerStatuses": [{"name": "a", "state": {"running": {}}}]}`, ""},
		"a crash loop":             {`{"phase": "Running", "containerStatuses": [{"name": "a", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}`, "CrashLoopBackOff"},
		"a moment in a loop":       {`{"phase": "Running", "containerStatuses": [{"name": "a", "restartCount": 4, "state": {"running": {"startedAt": "2999-01-01T00:00:00Z"}}, "lastState": {"terminated": {"exitCode": 1}}}]}`, "CrashLoopBackOff"},
		"a container recovered":    {`{"phase": "Running", "containerStatuses": [{"name": "a", "restartCount": 4, "state": {"running": {"startedAt": "2001-01-01T00:00:00Z"}}, "lastState": {"terminated": {"exitCode": 1}}}]}`, ""},
		"an image that is missing": {`{"phase": "Pending", "containerStatuses": [{"name": "a", "state": {"waiting": {"reason": "ErrImagePull"}}}]}`, "ImagePullBackOff"},
		"out of memory":            {`{"phase": "Failed", "containerStatuses": [{"name": "a", "state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]}`, "OOMKilled"},
		"a job's pod that failed":  {`{"phase": "Failed", "containerStatuses": [{"name": "a", "state": {"terminated": {"reason": "Error", "exitCode": 3}}}]}`, "Failed"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var pod kube.Pod
			if err := json.Unmarshal([]byte(c.status), &pod.Status); err != nil {
				t.Fatal(err)
			}
			found := Problems(pod, time.Now())
			if c.reason == "" && len(found) == 0 {
				return
			}
			if len(found) != 1 || found[0].Reason != c.reason {
				t.Fatalf("want %q, found %v", c.reason, found)
			}
		})
	}
}
