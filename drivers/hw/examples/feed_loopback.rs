//! Feeds known grey pictures into a v4l2loopback device, for `tests/vm/cameras.sh`.
//!
//! usage: feed_loopback DEVICE WIDTH HEIGHT FILE RATE_HZ COUNT (FILE is pictures one after the other, fed round and round)

use std::io::Write as _;
use std::time::{Duration, Instant};

use v4l::video::Output as _;
use v4l::{Device, Format, FourCC};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [path, width, height, file, rate, count] = words.as_slice() else {
        return Err("usage: feed_loopback DEVICE WIDTH HEIGHT FILE RATE_HZ COUNT".into());
    };
    let (width, height): (u32, u32) = (width.parse()?, height.parse()?);
    let (period, count): (Duration, u32) = (Duration::from_secs_f64(1.0 / rate.parse::<f64>()?), count.parse()?);
    let mut device = Device::with_path(path)?;
    let set = device.set_format(&Format::new(width, height, FourCC::new(b"GREY")))?;
    println!("feeding {}x{} {}", set.width, set.height, set.fourcc);
    let pictures = std::fs::read(file)?;
    let begun = Instant::now();
    for (number, picture) in (0..count).zip(pictures.chunks_exact((width * height) as usize).cycle()) {
        std::thread::sleep((period * number).saturating_sub(begun.elapsed()));
        device.write_all(picture)?;
    }
    Ok(())
}
