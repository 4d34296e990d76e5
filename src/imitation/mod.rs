//! The virtual rat: reference window, observation, policy network, physics, resets.
