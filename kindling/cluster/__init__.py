"""The embedded cluster: a Kubernetes of one node for machines that have none.

Sub-rooms, top to bottom; each imports only those below it, and this room never imports
`kindling.kube`: the two meet on the wire, so each is a fair test of the other.

    daemon, server      the background process: seen from outside, and its own beginning and end
    assembly            how the parts are put together, and taken apart again
    apiserver           HTTP: routing, credentials, verbs, tables, OpenAPI, streams
    controllers         Deployment and its kin, garbage collection, endpoints, volumes
    node                pods: images, volumes, probes, restarts, logs
    network             service addresses, DNS, ingress
    registry            objects: create, update, patch, delete, watch; what the verbs mean
    runtime | images    processes in namespaces | OCI images, the builder and the image registry
    storage             SQLite: revisions, durable writes, history
    patch | schema      the four patch types, field owners | shapes, defaults, validation
    model               the values and Protocols that all of them share

Objects are plain JSON (`Obj`), and nobody changes one that was handed out: the same value may
stand in the store, in a watch and in a controller.
"""
