//! The ground-truth rat: its body, its movement, and what is known about it at any instant.
