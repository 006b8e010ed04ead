"""Photographs of one lesion, found by what they show; in the order that images walk through.

features       one image -> local features
store          features of many images, on disk
vocabulary     descriptors -> visual words
index          an inverted file of descriptors -> which images share details
candidates     which pairs are worth verifying
verification   a pair -> how one image lies over the other
probability    that evidence -> how probable it is to be one lesion
search         a data set -> links
grouping       links -> groups that a split doesn't tear
"""
