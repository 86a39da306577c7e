"""What rufusd costs, beside what people use today. `make bench` runs it; bench/README.md tells how to read it."""
