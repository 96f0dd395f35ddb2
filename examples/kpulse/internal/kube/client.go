package kube

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const account = "/var/run/secrets/kubernetes.io/serviceaccount/"

// Client talks to the API server of the cluster that this process runs in.
type Client struct {
	base string
	http *http.Client
}

// Event is one change of a pod: ADDED, MODIFIED or DELETED.
type Event struct {
	Type string
	Pod  Pod
}

// InCluster returns a client that uses the pod's own service account.
func InCluster() (*Client, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("not in a cluster: KUBERNETES_SERVICE_HOST is not set")
	}
	authority, err := os.ReadFile(account + "ca.crt")
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	return &Client{
		base: "https://" + net.JoinHostPort(host, port),
		http: &http.Client{Transport: &http.Transport{
			TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			ResponseHeaderTimeout: 30 * time.Second,
		}},
	}, nil
}

// List returns the pods of a namespace and the version from which to watch.
func (c *Client) List(ctx context.Context, namespace string) ([]Pod, string, error) {
	response, err := c.get(ctx, namespace, nil)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	var list struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
		Items []Pod `json:"items"`
	}
	err = json.NewDecoder(response.Body).Decode(&list)
	return list.Items, list.Metadata.ResourceVersion, err
}

// Watch calls `each` for every change after `version` until the server ends the stream, after a minute.
func (c *Client) Watch(ctx context.Context, namespace, version string, each func(Event)) error {
	response, err := c.get(ctx, namespace, url.Values{
		"watch":           {"true"},
		"resourceVersion": {version},
		"timeoutSeconds":  {"60"},
	})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := json.NewDecoder(response.Body)
	for {
		var line struct {
			Type   string          `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		err := lines.Decode(&line)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if line.Type == "ERROR" {
			return fmt.Errorf("the watch ended: %s", line.Object)
		}
		var pod Pod
		if err := json.Unmarshal(line.Object, &pod); err != nil {
			return err
		}
		each(Event{line.Type, pod})
	}
}

func (c *Client) get(ctx context.Context, namespace string, query url.Values) (*http.Response, error) {
	address := fmt.Sprintf("%s/api/v1/namespaces/%s/pods?%s", c.base, url.PathEscape(namespace), query.Encode())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	// Read anew each time: the kubelet renews the token.
	token, err := os.ReadFile(account + "token")
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("the API server answered %s", response.Status)
	}
	return response, nil
}
