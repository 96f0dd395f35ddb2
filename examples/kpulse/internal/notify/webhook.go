// Package notify tells people about alerts.
package notify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"time"

	"kindling.dev/examples/kpulse/internal/alert"
)

// Webhook posts alerts as JSON to one address, in order, and tries again for a while when it is down.
type Webhook struct {
	address string
	token   string
	queue   chan alert.Alert
}

// NewWebhook returns a webhook that has started to work. `token` may be empty.
func NewWebhook(address, token string) *Webhook {
	w := &Webhook{address: address, token: token, queue: make(chan alert.Alert, 256)}
	go w.work()
	return w
}

// Send queues an alert. When the queue is full the alert is dropped and logged: watching must not stop.
func (w *Webhook) Send(a alert.Alert) {
	select {
	case w.queue <- a:
	default:
		log.Printf("too many alerts wait for %s: dropped %s", w.address, a.Key())
	}
}

func (w *Webhook) work() {
	client := &http.Client{Timeout: 5 * time.Second}
	for a := range w.queue {
		var err error
		for try := 0; try < 10; try++ {
			if err = w.post(client, a); err == nil {
				break
			}
			time.Sleep(time.Second)
		}
		if err != nil {
			log.Printf("gave up on %s: %v", a.Key(), err)
		}
	}
}

func (w *Webhook) post(client *http.Client, a alert.Alert) error {
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodPost, w.address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if w.token != "" {
		request.Header.Set("Authorization", "Bearer "+w.token)
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode >= 300 {
		return fmt.Errorf("%s answered %s", w.address, response.Status)
	}
	return nil
}
