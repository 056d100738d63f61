"""The service: REST, a WebSocket and a page over the analyzer. Extra `serve`."""
