// kpulse watches the pods of one namespace and posts an alert to a webhook for each that is broken.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"kindling.dev/examples/kpulse/internal/alert"
	"kindling.dev/examples/kpulse/internal/kube"
	"kindling.dev/examples/kpulse/internal/notify"
	"kindling.dev/examples/kpulse/internal/watch"
)

// Version is what the page begins with. Change it while `kindling up` runs.
const Version = "kpulse 1"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	namespace := setting("KPULSE_NAMESPACE", "triggers")
	sink := notify.NewWebhook(setting("KPULSE_WEBHOOK", "http://webhook-sink:8081/"), credential("WEBHOOK_TOKEN"))
	alerts := alert.NewList()

	client, err := kube.InCluster()
	if err != nil {
		log.Fatal(err)
	}
	go watch.Run(ctx, client, namespace, alerts, func(a alert.Alert) {
		log.Printf("%s resolved=%t %s", a.Key(), a.Resolved, a.Message)
		sink.Send(a)
	})

	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("/test-channel", func(w http.ResponseWriter, _ *http.Request) {
		sink.Send(alert.Alert{Namespace: namespace, Pod: "none", Reason: "Test", Since: time.Now()})
		fmt.Fprintln(w, "sent a test alert")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		all := alerts.All()
		fmt.Fprintf(w, "%s: %d alerts in namespace %s\n", Version, len(all), namespace)
		for _, a := range all {
			fmt.Fprintf(w, "%s  %s  %s %s\n", a.Since.Format(time.RFC3339), a.Reason, a.Pod, a.Container)
		}
	})

	server := &http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		deadline, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		_ = server.Shutdown(deadline)
	}()
	log.Printf("%s watches namespace %s", Version, namespace)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

// setting reads an environment variable.
func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// credential reads one key of the Secret, which is mounted as a folder and may not be there at all.
func credential(name string) string {
	value, err := os.ReadFile("/etc/kpulse/secrets/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(value))
}
