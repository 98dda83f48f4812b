"""A simulation of many replicas behind a load balancer and an autoscaler."""
