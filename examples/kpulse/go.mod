module kindling.dev/examples/kpulse

go 1.19
