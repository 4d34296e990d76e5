//! The lab panel: HTTP and WebSocket API and the page.
