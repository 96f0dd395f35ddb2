// webhook-sink shows what was posted to it: the stand-in for the channel that alerts go to.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const kept = 100

func main() {
	// Nothing is worth finishing here, so that a new pod need not wait for the old one.
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-end
		os.Exit(0)
	}()

	var mu sync.Mutex
	var received []string

	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			line := time.Now().Format(time.RFC3339) + " " + string(body)
			log.Print(line)
			mu.Lock()
			received = append(received, line)
			if len(received) > kept {
				received = received[len(received)-kept:]
			}
			mu.Unlock()
			w.WriteHeader(http.StatusNoContent)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(w, "%d alerts received\n", len(received))
		for _, line := range received {
			fmt.Fprintln(w, line)
		}
	})
	log.Print("webhook-sink listens on port 8081")
	log.Fatal(http.ListenAndServe(":8081", nil))
}
