package main

import (
	"io"
	"net/http"
)

const answer = "one"

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, answer) })
	http.ListenAndServe(":8080", nil)
}
