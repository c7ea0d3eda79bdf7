// Package prometheus publishes the figures of a server to Prometheus.
//
//	registry := prometheus.NewRegistry()
//	registry.MustRegister(nanoprometheus.New(srv, nanoprometheus.Options{}))
//	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
//
// The figures are those of [nano.Server.Stats], read once for each scrape, so that all figures of a scrape belong
// together. Serve them at an address that only operators can reach.
//
// The times of handlers and the delays of the logic goroutine are histograms. A scrape in the text format gets classic
// buckets, one for each power of two of a second. If a Prometheus server asks for native histograms in the protobuf
// format, it also gets a native histogram with four buckets in each power of two.
//
// The file dashboard.json is a dashboard for Grafana, and alerts.yaml has rules for alerts.
package prometheus
