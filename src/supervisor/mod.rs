//! Rig states from idle to sealing, shutdown order, service notification.
