//! Rings, pools and gathering: how data moves between threads.
