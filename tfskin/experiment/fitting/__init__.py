"""What a training is made of: the job, its data, its network, its stages, kept features."""
