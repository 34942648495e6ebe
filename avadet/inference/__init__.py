"""From a video to what its people do: the pass over the video, and the files it fills."""
