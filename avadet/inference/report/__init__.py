"""The page to look at: STEM.html, which plays a video with what was found in it, and the server that shows it afar."""
