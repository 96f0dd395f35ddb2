"""What every part of the embedded cluster shares: values, errors and narrow Protocols. No I/O."""
