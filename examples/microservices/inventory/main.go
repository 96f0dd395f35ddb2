// Inventory knows how many of each thing there are, and gives them out until there are none.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// What there is when nobody has counted yet.
var first = map[string]int{"kettle": 20, "lamp": 5, "table": 1}

type stock struct{ address string }

// with runs `do` on a connection to Redis.
func (s stock) with(do func(*redis) error) error {
	client, err := dial(s.address)
	if err != nil {
		return err
	}
	defer client.Close()
	return do(client)
}

func key(thing string) string { return "stock:" + thing }

// fill counts what was never counted. Two instances may do it at once.
func (s stock) fill() error {
	return s.with(func(client *redis) error {
		for thing, count := range first {
			if _, err := client.call("SET", key(thing), strconv.Itoa(count), "NX"); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
		return nil
	})
}

func (s stock) all(answer http.ResponseWriter, _ *http.Request) {
	counts := map[string]int{}
	err := s.with(func(client *redis) error {
		for thing := range first {
			text, err := client.call("GET", key(thing))
			if err != nil {
				return err
			}
			if counts[thing], err = strconv.Atoi(text); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		http.Error(answer, err.Error(), http.StatusBadGateway)
		return
	}
	answer.Header().Set("Content-Type", "application/json")
	json.NewEncoder(answer).Encode(counts)
}

// take gives out one: DECR says how many are left, and what was one too many is put back.
func (s stock) take(answer http.ResponseWriter, request *http.Request) {
	thing := strings.TrimPrefix(request.URL.Path, "/take/")
	if _, known := first[thing]; !known || request.Method != http.MethodPost {
		http.Error(answer, fmt.Sprintf("there is no %s to take", thing), http.StatusNotFound)
		return
	}
	left := 0
	err := s.with(func(client *redis) error {
		text, err := client.call("DECR", key(thing))
		if err != nil {
			return err
		}
		if left, err = strconv.Atoi(text); err == nil && left < 0 {
			_, err = client.call("INCR", key(thing))
		}
		return err
	})
	switch {
	case err != nil:
		http.Error(answer, err.Error(), http.StatusBadGateway)
	case left < 0:
		http.Error(answer, fmt.Sprintf("no %s is left", thing), http.StatusConflict)
	default:
		fmt.Fprintf(answer, "%d\n", left)
	}
}

func main() {
	things := stock{os.Getenv("REDIS_URL")}
	if err := things.fill(); err != nil {
		log.Fatalf("Redis: %v", err)
	}
	http.HandleFunc("/stock", things.all)
	http.HandleFunc("/take/", things.take)
	http.HandleFunc("/healthz", func(answer http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(answer, "ok")
	})
	log.Print("inventory listens on port 8080")
	log.Fatal(http.ListenAndServe(":8080", nil))
}
