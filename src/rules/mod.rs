//! Closed-loop rules: conditions over signals, actions on outputs.
